import { MAX_STATEMENT_BYTES, type SqlValue, type Statement } from "./protocol.ts";

/** Longest statement that an import keeps in memory, in characters: a row of 4 MiB as hex, twice. */
const MAX_PENDING_CHARS = 16 * 1024 * 1024;

/** Literals from this length on, in characters, are worth a parameter of their own. */
const LONG_LITERAL_CHARS = 256;

const code = (char: string): number => char.charCodeAt(0);
const QUOTE = code("'");
const DOUBLE_QUOTE = code('"');
const BACKTICK = code("`");
const BRACKET = code("[");
const DASH = code("-");
const SLASH = code("/");
const STAR = code("*");
const SEMICOLON = code(";");

const isSpace = (char: number): boolean => char === 32 || (char >= 9 && char <= 13);
const isWord = (char: number): boolean =>
  (char >= 97 && char <= 122) || // a-z
  (char >= 65 && char <= 90) || // A-Z
  (char >= 48 && char <= 57) || // 0-9
  char === 95 || // _
  char === 36 || // $
  char > 127;

/** Where the token that begins at `at` ends; -1 if the text ends before it does. */
function tokenEnd(text: string, at: number): number {
  const char = text.charCodeAt(at);
  if (char === QUOTE || char === DOUBLE_QUOTE || char === BACKTICK)
    return quotedEnd(text, at, char);
  if (char === BRACKET) return text.indexOf("]", at) + 1 || -1;
  if (isComment(text, at)) {
    const closing = char === DASH ? "\n" : "*/";
    const found = text.indexOf(closing, at + 2);
    return found < 0 ? -1 : found + closing.length;
  }
  let end = at + 1;
  if (isSpace(char)) while (isSpace(text.charCodeAt(end))) end++;
  else if (isWord(char)) while (isWord(text.charCodeAt(end))) end++;
  return end;
}

// A quote within is written twice.
function quotedEnd(text: string, at: number, quote: number): number {
  const mark = String.fromCharCode(quote);
  for (let end = text.indexOf(mark, at + 1); end >= 0; end = text.indexOf(mark, end + 2)) {
    if (text.charCodeAt(end + 1) !== quote) return end + 1;
  }
  return -1;
}

const isComment = (text: string, at: number): boolean =>
  (text.charCodeAt(at) === DASH && text.charCodeAt(at + 1) === DASH) ||
  (text.charCodeAt(at) === SLASH && text.charCodeAt(at + 1) === STAR);

/**
 * Where in a statement the splitter is, as SQLite's shell sees it: a semicolon ends a statement,
 * but within `CREATE TRIGGER` only the one after `; END` does.
 * https://www.sqlite.org/c3ref/complete.html
 */
type State = "start" | "explain" | "create" | "normal" | "trigger" | "semicolon" | "end";

function nextState(state: State, word: string): State {
  if (state === "normal") return "normal";
  if (state === "trigger" || state === "end") return "trigger";
  const keyword = word.length <= 9 ? word.toUpperCase() : "";
  switch (state) {
    case "semicolon":
      return keyword === "END" ? "end" : "trigger";
    case "start":
      return keyword === "CREATE" ? "create" : keyword === "EXPLAIN" ? "explain" : "normal";
    case "explain":
      return keyword === "CREATE"
        ? "create"
        : keyword === "QUERY" || keyword === "PLAN"
          ? "explain"
          : "normal";
    case "create":
      return keyword === "TRIGGER"
        ? "trigger"
        : keyword === "TEMP" || keyword === "TEMPORARY"
          ? "create"
          : "normal";
  }
}

/** Cuts SQL text that arrives in pieces into statements, without comments and blanks before them. */
export class StatementSplitter {
  #text = "";
  #at = 0;
  #start = 0;
  #state: State = "start";
  // Length of text worth another look: a long literal is not scanned anew with every piece of it.
  #enough = 0;

  /** The statements that this piece completes. Throws if one is longer than any could be. */
  push(text: string): string[] {
    this.#text += text;
    if (this.#text.length < this.#enough) return [];
    const statements = this.#scan(false);
    this.#text = this.#text.slice(this.#start);
    this.#at -= this.#start;
    this.#start = 0;
    if (this.#text.length > MAX_PENDING_CHARS) {
      throw new Error("statement too long: SQLITE_TOOBIG");
    }
    this.#enough = this.#text.length * 2;
    return statements;
  }

  /** What is left, ended by a semicolon or not. */
  end(): string[] {
    const statements = this.#scan(true);
    if (this.#state !== "start") statements.push(this.#text.slice(this.#start));
    return statements;
  }

  #scan(final: boolean): string[] {
    const text = this.#text;
    const statements: string[] = [];
    while (this.#at < text.length) {
      const end = tokenEnd(text, this.#at);
      // A token at the very end may go on in the next piece.
      if (!final && (end < 0 || end >= text.length) && text.charCodeAt(this.#at) !== SEMICOLON) {
        break;
      }
      const char = text.charCodeAt(this.#at);
      const blank = isSpace(char) || isComment(text, this.#at);
      const next = end < 0 ? text.length : end;
      if (char === SEMICOLON) {
        if (this.#state === "trigger" || this.#state === "semicolon") this.#state = "semicolon";
        else {
          if (this.#state !== "start") statements.push(text.slice(this.#start, next));
          this.#state = "start";
        }
      } else if (!blank) {
        if (this.#state === "start") this.#start = this.#at;
        this.#state = nextState(this.#state, isWord(char) ? text.slice(this.#at, next) : "");
      }
      this.#at = next;
      if (this.#state === "start") this.#start = next;
    }
    return statements;
  }
}

/** The statements of a text; none if it has only blanks and comments. */
export function splitStatements(text: string): string[] {
  const splitter = new StatementSplitter();
  return [...splitter.push(text), ...splitter.end()];
}

/**
 * A statement as it can be run: one that is longer than SQLite takes gets its long literals bound
 * as parameters, so that what a dump wrote can be read back. Others stay as they are.
 */
export function toRunnable(sql: string): Statement {
  if (sql.length * 3 <= MAX_STATEMENT_BYTES) return { sql, params: [] };
  if (new TextEncoder().encode(sql).length <= MAX_STATEMENT_BYTES) return { sql, params: [] };
  const params: SqlValue[] = [];
  let short = "";
  let copied = 0;
  for (let at = 0; at < sql.length;) {
    const found = tokenEnd(sql, at);
    const end = found < 0 ? sql.length : found;
    if (sql.charCodeAt(at) === QUOTE && end - at >= LONG_LITERAL_CHARS) {
      const literal = sql.slice(at + 1, end - 1);
      const isBlob = /(?:^|[^\w$])x$/i.test(sql.slice(Math.max(0, at - 2), at));
      short += `${sql.slice(copied, isBlob ? at - 1 : at)}?`;
      params.push(isBlob ? fromHex(literal) : literal.replaceAll("''", "'"));
      copied = end;
    }
    at = end;
  }
  return { sql: short + sql.slice(copied), params };
}

function fromHex(hex: string): ArrayBuffer {
  if (hex.length % 2 === 1 || /[^\da-f]/i.test(hex)) throw new Error("malformed blob literal");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.slice(i * 2, i * 2 + 2), 16);
  return bytes.buffer;
}
