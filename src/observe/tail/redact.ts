// What Cloudflare keeps from those who read logs, by the rules of its runtime:
// https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#properties

const REDACTED = "REDACTED";
const SENSITIVE_HEADER = /^(set-)?cookie$|auth|jwt|key|secret|token/;
/** Shorter ones are no ids, neither in hex nor in base64. */
const LONG_WORD = /[A-Za-z0-9+_-]{21,}/g;
const MIN_HEX_DIGITS = 32;

/** The headers, whose names are in lower case, without the values that may be secrets. */
export function redactHeaders(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      SENSITIVE_HEADER.test(name) ? REDACTED : value,
    ]),
  );
}

/** The URL without what looks like an id, of which some are keys. */
export function redactUrl(url: string): string {
  return url.replace(LONG_WORD, (word) => (isHexId(word) || isBase64Id(word) ? REDACTED : word));
}

const count = (word: string, pattern: RegExp): number => word.match(pattern)?.length ?? 0;

const isHexId = (word: string): boolean =>
  /^[0-9A-Fa-f+_-]*$/.test(word) && count(word, /[0-9A-Fa-f]/g) >= MIN_HEX_DIGITS;

const isBase64Id = (word: string): boolean =>
  [/[0-9]/g, /[A-Z]/g, /[a-z]/g].every((kind) => count(word, kind) >= 2);
