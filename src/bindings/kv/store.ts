import { RpcTarget } from "cloudflare:workers";
import type { Env } from "../../env.ts";

export class KvStore extends RpcTarget {
  constructor(_env: Env, _namespaceId: string) {
    super();
  }
}
