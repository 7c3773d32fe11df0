// The least that dispatches into dynamic isolates: what Mayfly's pipeline is measured against.
import hello from "hello.txt";

const code = {
  compatibilityDate: "2026-07-01",
  mainModule: "hello.js",
  modules: { "hello.js": hello },
};

/** One isolate, started by the first request. */
export const warm = {
  fetch: (request, env) =>
    env.LOADER.get("hello", () => code)
      .getEntrypoint()
      .fetch(request),
};

/** An isolate for each path: the first request to a path is a cold start. */
export const first = {
  fetch: (request, env) =>
    env.LOADER.get(request.url, () => code)
      .getEntrypoint()
      .fetch(request),
};

/** An isolate for each request, started when the request is there. */
export const load = {
  fetch: (request, env) => env.LOADER.load(code).getEntrypoint().fetch(request),
};

export default warm;
