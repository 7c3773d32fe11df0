import type { NewMessage } from "../../bindings/queue/protocol.ts";
import { MAX_MESSAGE_BYTES } from "../../bindings/queue/limits.ts";
import { hex, sha256 } from "../../catalog/crypto.ts";
import type { ChangedRow, ChangeRow, DatabaseChange, Feed } from "./protocol.ts";

const MESSAGE_ID_LENGTH = 32;

const encoder = new TextEncoder();

/** The message of the change for the queue. Made again it has the same id. */
export async function toMessage(feed: Feed, row: ChangeRow, queueId: string): Promise<NewMessage> {
  const digest = await sha256(`${feed.databaseId}/${row.seq}/${queueId}`);
  return {
    id: hex(digest).slice(0, MESSAGE_ID_LENGTH),
    body: toBody(feed, row),
    contentType: "json",
    timestamp: Date.parse(row.at),
    orderingKey: `${feed.databaseId}/${row.table_name}`,
  };
}

function toBody(feed: Feed, row: ChangeRow): string {
  const before = readRow(row.old);
  const after = readRow(row.new);
  const change: DatabaseChange = {
    account: feed.accountId,
    database: { id: feed.databaseId, name: feed.databaseName },
    table: row.table_name,
    operation: row.operation,
    sequence: row.seq,
    eventTime: row.at,
    old: before.row,
    new: after.row,
    ...((before.truncated || after.truncated) && { truncated: true }),
  };
  const body = JSON.stringify(change);
  if (fits(body)) return body;
  const key = new Set(JSON.parse(row.key_columns) as string[]);
  const short = {
    ...change,
    old: onlyKey(change.old, key),
    new: onlyKey(change.new, key),
    truncated: true,
  };
  const shortBody = JSON.stringify(short);
  if (fits(shortBody)) return shortBody;
  // Not even the primary key has room.
  return JSON.stringify({ ...short, old: change.old && {}, new: change.new && {} });
}

const fits = (body: string): boolean =>
  body.length * 3 <= MAX_MESSAGE_BYTES || encoder.encode(body).byteLength <= MAX_MESSAGE_BYTES;

const onlyKey = (row: ChangedRow | null, key: Set<string>): ChangedRow | null =>
  row && Object.fromEntries(Object.entries(row).filter(([name]) => key.has(name)));

/** A value as the triggers write it. */
type Cell = string | number | null | { blob: string };

/** See `capture.ts`. */
function readRow(json: string | null): { row: ChangedRow | null; truncated: boolean } {
  if (json === null) return { row: null, truncated: false };
  const stored = JSON.parse(json) as Record<string, Cell>[] | { key: Record<string, Cell>[] };
  const truncated = !Array.isArray(stored);
  const parts = truncated ? stored.key : stored;
  const cells = parts.flatMap((part) => Object.entries(part));
  return {
    row: Object.fromEntries(cells.map(([name, cell]) => [name, readCell(cell)])),
    truncated,
  };
}

function readCell(cell: Cell): ChangedRow[string] {
  if (typeof cell === "number") return Number.isFinite(cell) ? cell : null;
  if (typeof cell !== "object" || cell === null) return cell;
  return cell.blob.match(/../g)?.map((byte) => parseInt(byte, 16)) ?? [];
}
