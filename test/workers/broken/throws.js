// Fails before any request.
function fail() {
  throw new Error("not today");
}
fail();

export default {};
