import { setTimeout as sleep } from "node:timers/promises";
import type { Flight } from "./flight-reader.ts";
import { log } from "./log.ts";
import type { TellState } from "./tell-state.ts";

/** How long an executor that is to be ended waits for state to know why. */
const TELL_WITHIN_MS = 1_000;
const RETRY_EVERY_MS = 250;
const GIVE_UP_AFTER_MS = 60_000;
/** Who lingered at the last stall is suspected if it does so again within this time. */
const REMEMBERED_MS = 10 * 60_000;

/** Whom state is told of. */
interface Incident {
  script_ids: string[];
  reason: "exceededCpu" | "exceededMemory";
  culprit: boolean;
}

/** Works out from what was in flight which scripts are suspected, and tells state. */
export class Suspects {
  readonly #tellState: TellState;
  /** Scripts that lingered at an earlier stall, and when it was. */
  #lingered = new Map<string, number>();

  constructor(tellState: TellState) {
    this.#tellState = tellState;
  }

  /** An executor is about to be ended. Resolves when state knows, or cannot be told in time. */
  async report(executor: string, flights: Flight[], reason: Incident["reason"]): Promise<void> {
    const { suspects, culprit } = this.#judge(flights);
    if (suspects.length === 0) {
      log("error", "no_suspects", { process: executor, reason });
      return;
    }
    log("warn", "suspects", { process: executor, reason, culprit, scripts: suspects });
    const told = this.#tell({ script_ids: suspects, reason, culprit });
    await Promise.race([told, sleep(TELL_WITHIN_MS)]);
  }

  // What is in flight is suspected. What only lingers is not at once, as it is much and seldom it: only
  // if there is nothing else, or if it does so whenever something happens.
  #judge(flights: Flight[]): { suspects: string[]; culprit: boolean } {
    const now = Date.now();
    const inFlight = new Set(flights.filter((one) => !one.lingers).map((one) => one.scriptId));
    const lingering = [...new Set(flights.map((one) => one.scriptId))].filter(
      (id) => !inFlight.has(id),
    );
    const again = lingering.filter(
      (id) => inFlight.size === 0 || now - (this.#lingered.get(id) ?? 0) < REMEMBERED_MS,
    );
    // A lane, in which nothing lingers, says nothing of those that do elsewhere.
    if (lingering.length > 0) this.#lingered = new Map(lingering.map((id) => [id, now]));
    const suspects = [...inFlight, ...again];
    return { suspects, culprit: suspects.length === 1 && lingering.length <= again.length };
  }

  async #tell(incident: Incident): Promise<void> {
    const deadline = Date.now() + GIVE_UP_AFTER_MS;
    for (;;) {
      const status = await this.#tellState("/mayfly/suspects", incident).catch(
        (error: Error) => error,
      );
      if (status === 200) return;
      if (Date.now() > deadline) {
        log("error", "suspects_lost", { reason: String(status), scripts: incident.script_ids });
        return;
      }
      await sleep(RETRY_EVERY_MS);
    }
  }
}
