import { WorkflowEntrypoint } from "cloudflare:workers";

export class Flow extends WorkflowEntrypoint {}

export default {
  fetch: () => new Response("flow"),
};
