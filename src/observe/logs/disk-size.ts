/**
 * About what logs take on the disk, with indexes, so that a script's are kept within their bound. Measured
 * with lines of 6 to 200,000 bytes; with many short ones it is some hundredths too high.
 */

const INVOCATION_BYTES = 140;
const LINE_BYTES = 48;
// Of a longer text 489 bytes stay in its row, and the rest goes to pages of its own:
// https://www.sqlite.org/fileformat2.html#cell_payload_overflow_pages
const MAX_LOCAL_BYTES = 1_000;
const LOCAL_BYTES = 489;
const PAGE_BYTES = 4_096;
const PAGE_PAYLOAD_BYTES = PAGE_BYTES - 4;

const encoder = new TextEncoder();
const beyondAscii = /[\u0080-\uffff]/;

const bytesOf = (text: string): number =>
  beyondAscii.test(text) ? encoder.encode(text).length : text.length;

/** Of an invocation without its lines, by the JSON of its `KeptRest`. */
export const invocationSize = (rest: string): number => INVOCATION_BYTES + rest.length;

export function lineSize(text: string): number {
  const bytes = bytesOf(text);
  if (bytes <= MAX_LOCAL_BYTES) return LINE_BYTES + bytes;
  const pages = Math.ceil((bytes - LOCAL_BYTES) / PAGE_PAYLOAD_BYTES);
  return LINE_BYTES + LOCAL_BYTES + pages * PAGE_BYTES;
}
