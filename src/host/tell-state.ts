import { request } from "node:http";

/**
 * Calls the API where state itself answers, with the root token. Resolves with the status of the answer;
 * rejects if there is none.
 */
export type TellState = (path: string, body: unknown) => Promise<number | undefined>;

/** `socketPath`: where state answers requests; `token`: the root token. */
export const tellStateAt =
  (socketPath: string, token: string): TellState =>
  (path, body) =>
    new Promise((resolve, reject) => {
      const req = request(
        {
          socketPath,
          path: `/client/v4${path}`,
          method: "POST",
          headers: { host: "localhost", authorization: `Bearer ${token}` },
          agent: false,
        },
        (res) => {
          res.resume();
          resolve(res.statusCode);
        },
      );
      req.on("error", reject);
      req.end(JSON.stringify(body));
    });
