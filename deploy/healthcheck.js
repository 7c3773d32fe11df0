// Ends with 0 if the platform that runs beside this is ready, for a container's health check.
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";

const { PORT, MAYFLY_TLS_CERT } = process.env;
const request = MAYFLY_TLS_CERT ? requestHttps : requestHttp;
const options = {
  host: "127.0.0.1",
  port: PORT || 8787,
  path: "/_mayfly/ready",
  // No certificate names this address.
  rejectUnauthorized: false,
  signal: AbortSignal.timeout(5_000),
};
request(options, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
  .on("error", ({ message }) => {
    console.error(message);
    process.exit(1);
  })
  .end();
