import { RpcTarget } from "cloudflare:workers";
import type { Env } from "../../env.ts";

export class R2Store extends RpcTarget {
  constructor(_env: Env, _accountId: string, _bucketName: string) {
    super();
  }
}
