// The worker of `hello.js` in the form that serverless-offline wants.
exports.hello = async () => ({ statusCode: 200, body: "Hello World\n" });
