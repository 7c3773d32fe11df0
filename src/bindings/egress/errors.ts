import type { AddressRule } from "./address.ts";

type Rule =
  | AddressRule
  | "deny_list"
  | "allow_list"
  | "control_api"
  | "own_host"
  | "smtp_port"
  | "invalid_address"
  | "no_public_address";

const REASONS: Record<Rule, string> = {
  loopback_address: "workers reach public addresses only",
  private_address: "workers reach public addresses only",
  link_local_address: "workers reach public addresses only",
  multicast_address: "workers reach public addresses only",
  reserved_address: "workers reach public addresses only",
  deny_list: "the account's deny list names it",
  allow_list: "the account's allow list does not name it",
  control_api: "the platform's API is not for workers",
  own_host: "this platform serves it, call it with fetch()",
  smtp_port: "connections to port 25 are prohibited",
  invalid_address: "it must be a host and a port",
  no_public_address: "it has no address, or none that is public",
};

/** A call that must not leave. Reaches the worker as a TypeError, as all that `fetch` refuses does. */
export class EgressError extends TypeError {
  constructor(rule: Rule, host: string) {
    super(`egress refused "${host}": ${REASONS[rule]} (rule ${rule})`);
  }
}

// The runtime says no more of a name that it cannot look up, or whose addresses it refuses.
const REFUSED = /^internal error/;

/** Why the network did not answer, in words for the worker. */
export function networkError(error: unknown, host: string): unknown {
  const message = error instanceof Error ? error.message : String(error);
  return REFUSED.test(message) ? new EgressError("no_public_address", host) : error;
}
