// Of one session. wrangler can print as much; what a client does not read waits in the platform's memory.
const MESSAGES_PER_SECOND = 2_000;
const BYTES_PER_SECOND = 4 * 1024 * 1024;
/** Nothing had to be left out for so long: it is over. */
const CALM_MS = 2_000;

/** How much a session may be sent: so much in a second, and as much at once. */
export class Allowance {
  #messages = MESSAGES_PER_SECOND;
  #bytes = BYTES_PER_SECOND;
  #at = Date.now();
  #leftOutAt = 0;
  /** Something was left out a moment ago. */
  sampling = false;

  /** Whether a message of this size may be sent now. */
  take(bytes: number): boolean {
    const now = Date.now();
    const seconds = (now - this.#at) / 1_000;
    this.#at = now;
    this.#messages = Math.min(this.#messages + seconds * MESSAGES_PER_SECOND, MESSAGES_PER_SECOND);
    this.#bytes = Math.min(this.#bytes + seconds * BYTES_PER_SECOND, BYTES_PER_SECOND);
    if (this.#messages < 1 || this.#bytes < 0) return false;
    this.#messages--;
    // One that is larger than all of it goes through, and is paid for afterwards.
    this.#bytes -= bytes;
    return true;
  }

  /** Notes that something is left out; whether that has just begun. */
  leaveOut(): boolean {
    this.#leftOutAt = Date.now();
    const begins = !this.sampling;
    this.sampling = true;
    return begins;
  }

  /** Whether it has just come to an end that things are left out. */
  calmsDown(): boolean {
    if (!this.sampling || Date.now() - this.#leftOutAt < CALM_MS) return false;
    this.sampling = false;
    return true;
  }
}
