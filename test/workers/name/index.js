// Answers with the name it was given and the address it was asked for.
export default {
  fetch(request, env) {
    return new Response(`${env.NAME} ${request.url}`);
  },
};
