import type { Backlog } from "../../bindings/queue/protocol.ts";

/**
 * What waits in queues, by their ids: of those whose objects have been at work in this process, which includes
 * all that have messages.
 */
export const backlogs = new Map<string, Backlog>();

/** Keeps what waits in a queue; undefined if the queue is gone. */
export function keepBacklog(queueId: string, backlog: Backlog | undefined): void {
  if (backlog) backlogs.set(queueId, backlog);
  else backlogs.delete(queueId);
}
