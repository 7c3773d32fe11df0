// The worker that every target serves.
export default {
  fetch() {
    return new Response("Hello World\n");
  },
};
