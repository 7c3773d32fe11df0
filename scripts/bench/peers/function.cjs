// The worker of `hello.js` in the form that functions-framework wants.
exports.hello = (request, response) => {
  response.send("Hello World\n");
};
