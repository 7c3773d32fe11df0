import { AT_ONCE } from "../pipeline/flight-layout.ts";
import { cpuTimeOf } from "./cpu-time.ts";
import { FlightReader, type Flight } from "./flight-reader.ts";
import { log } from "./log.ts";
import { nextLook } from "./look.ts";
import type { ManagedProcess } from "./managed-process.ts";
import type { RestartReason } from "./restarts.ts";
import { ping } from "./watchdog.ts";

/** A process that has used less CPU time than this since its last answer cannot stand still. */
const ASK_AFTER_CPU_MS = 50;
/** One that does nothing is asked all the same after so many looks. */
const ASK_AFTER_LOOKS = 10;
const PING_TIMEOUT_MS = 10_000;

/** No limit is kept to more closely: the platform's own work may take so long. */
const MIN_LIMIT_MS = 250;
/** What may have been used before the stall began. */
const TOLERANCE_MS = 100;
/** What starting a process may take. */
const BOOT_CPU_MS = 2_000;
/** Invocations come and go, but nothing from outside gets through: given up after so many limits. */
const STARVED_LIMITS = 5;
/** A process that neither answers nor works for so many looks is given up as well. */
const FROZEN_LOOKS = 100;
const FADE = 0.8;
/** Moves of one invocation: its beginning, its response and its end. */
const MOVES_EACH = 3;

/** What is known of the process that runs at the moment. */
interface Watched {
  pid: number;
  reader: FlightReader | undefined;
  asking: boolean;
  /** Its CPU time at its last answer, at the last time that a flight began or ended, and at the last look. */
  cpuAtAnswer: number;
  cpuAtMove: number;
  cpuAtLook: number;
  moves: number | undefined;
  /** Moves lately, and the CPU time that they took; older ones count less. */
  lately: { moves: number; cpuMs: number };
  /** Looks since its last answer, and since it was asked without working. */
  looks: number;
  frozenLooks: number;
}

/**
 * Watches an executor's CPU time: it stands still if it answers no ping, and begins and ends nothing,
 * while it uses more CPU time than what is in flight in it may. Then it is started again, and `stalled`
 * is told first what was in flight, and says why it had to be. Linux only.
 */
export class CpuWatchdog {
  readonly #process: ManagedProcess;
  readonly #socketPath: string;
  readonly #flightMark: () => Buffer;
  readonly #defaultCpuMs: number;
  readonly #stalled: (flights: Flight[]) => Promise<RestartReason>;
  #watched: Watched | undefined;
  #stopped = false;
  #resting = false;

  constructor(
    process: ManagedProcess,
    socketPath: string,
    flightMark: () => Buffer,
    defaultCpuMs: number,
    stalled: (flights: Flight[]) => Promise<RestartReason>,
  ) {
    this.#process = process;
    this.#socketPath = socketPath;
    this.#flightMark = flightMark;
    this.#defaultCpuMs = defaultCpuMs;
    this.#stalled = stalled;
    void this.#run();
  }

  /** Reads what is in flight in the process; undefined until it has answered or `openReader` was called. */
  get reader(): FlightReader | undefined {
    return this.#watched?.reader;
  }

  /** The same, but looks for it if need be. Undefined if there is none to be found. */
  async openReader(): Promise<FlightReader | undefined> {
    const watched = this.#watched;
    if (watched) watched.reader ??= await this.#open(watched);
    return watched?.reader;
  }

  /** No longer ends the process, which answers no pings any more, but still finds what is in flight in it. */
  rest(): void {
    this.#resting = true;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await nextLook();
      const { pid } = this.#process;
      if (pid !== this.#watched?.pid) this.#begin(pid);
      if (this.#watched && !this.#stopped && !this.#resting) await this.#look(this.#watched);
    }
    this.#begin(undefined);
  }

  #begin(pid: number | undefined): void {
    this.#watched?.reader?.close();
    this.#watched =
      pid === undefined
        ? undefined
        : {
            pid,
            reader: undefined,
            asking: false,
            cpuAtAnswer: BOOT_CPU_MS,
            cpuAtMove: BOOT_CPU_MS,
            cpuAtLook: 0,
            moves: undefined,
            lately: { moves: 0, cpuMs: 0 },
            looks: 0,
            frozenLooks: 0,
          };
  }

  async #look(watched: Watched): Promise<void> {
    const cpu = cpuTimeOf(watched.pid);
    if (cpu === undefined) return;
    const moves = watched.reader?.moves();
    if (moves !== watched.moves) {
      const { lately } = watched;
      lately.moves = lately.moves * FADE + ((moves ?? 0) - (watched.moves ?? 0));
      lately.cpuMs = lately.cpuMs * FADE + Math.max(0, cpu - watched.cpuAtMove);
      watched.moves = moves;
      watched.cpuAtMove = cpu;
    }
    const worked = cpu - watched.cpuAtAnswer >= ASK_AFTER_CPU_MS;
    // An idle one is asked only now and then, once it is known.
    const ask = worked || !watched.reader || ++watched.looks >= ASK_AFTER_LOOKS;
    if (ask && !watched.asking) void this.#ask(watched);
    if (watched.asking && cpu - watched.cpuAtLook < ASK_AFTER_CPU_MS) watched.frozenLooks++;
    watched.cpuAtLook = cpu;

    const stuckMs = cpu - Math.max(watched.cpuAtAnswer, watched.cpuAtMove);
    const starvedMs = cpu - watched.cpuAtAnswer;
    const frozen = watched.frozenLooks >= FROZEN_LOOKS;
    if (stuckMs < MIN_LIMIT_MS && starvedMs < STARVED_LIMITS * MIN_LIMIT_MS && !frozen) return;
    const limitMs = this.#limitOf(watched, watched.reader?.read() ?? []);
    if (stuckMs < limitMs && starvedMs < STARVED_LIMITS * limitMs && !frozen) return;
    await this.#end(watched, Math.max(stuckMs, starvedMs), frozen);
  }

  #limitOf({ lately }: Watched, flights: Flight[]): number {
    const limits = flights.map(({ cpuMs }) => cpuMs);
    const largest = limits.length > 0 ? Math.max(...limits) : this.#defaultCpuMs;
    // Many that came at the same moment may be answered one after the other with no pause.
    const begun = flights.filter(({ lingers }) => !lingers).length;
    const usual = begun > 1 && lately.moves > 0 ? lately.cpuMs / lately.moves : 0;
    const together = 2 * usual * MOVES_EACH * Math.min(begun, AT_ONCE);
    return Math.max(largest, MIN_LIMIT_MS) + TOLERANCE_MS + together;
  }

  async #ask(watched: Watched): Promise<void> {
    watched.asking = true;
    const answered = (await ping(this.#socketPath, PING_TIMEOUT_MS)) === "answered";
    watched.asking = false;
    if (!answered || watched !== this.#watched) return;
    watched.cpuAtAnswer = cpuTimeOf(watched.pid) ?? watched.cpuAtAnswer;
    watched.looks = 0;
    watched.frozenLooks = 0;
    watched.reader ??= await this.#open(watched);
  }

  async #open(watched: Watched): Promise<FlightReader | undefined> {
    const reader = await FlightReader.open(watched.pid, this.#flightMark());
    if (watched === this.#watched && !watched.reader) return reader;
    reader?.close();
    return watched.reader;
  }

  async #end(watched: Watched, cpuMs: number, frozen: boolean): Promise<void> {
    const { name, pid } = this.#process;
    log("warn", "process_stalled", { process: name, pid, cpuMs });
    await this.#process.hold(async () => {
      watched.reader ??= await this.#open(watched);
      const reason = await this.#stalled(watched.reader?.read() ?? []);
      this.#process.restart(frozen ? "stalled" : reason);
    });
  }
}
