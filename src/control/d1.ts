import { Hono, type Context } from "hono";
import * as z from "zod";
import type {
  QueryOutcome,
  SqlValue,
  Statement,
  StatementResult,
} from "../bindings/d1/protocol.ts";
import {
  createDatabase,
  deleteDatabase,
  listDatabases,
  type Database,
} from "../catalog/databases.ts";
import { shardOf, type ShardRole } from "../roles/contract.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { d1Transfer } from "./d1-transfer.ts";
import { MALFORMED, NAME_TAKEN, requireDatabase, SQL_ERROR } from "./database.ts";
import { failure, paged, success } from "./envelope.ts";
import { ApiError } from "./error.ts";

const DEFAULT_PER_PAGE = 100;

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

const CreateBody = z.object({
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/,
      "must be 1 to 64 letters, digits, - and _, the first a letter or digit",
    )
    .refine((name) => !UUID.test(name), "must not look like the id of a database"),
  // One place, so any hint is as good.
  primary_location_hint: z.enum(["wnam", "enam", "weur", "eeur", "apac", "oc"]).optional(),
  jurisdiction: z
    .undefined(
      "not supported by Mayfly: data stays where the platform runs, which it cannot vouch for",
    )
    .optional(),
});

const Parameter = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const Query = z.object({ sql: z.string(), params: z.array(Parameter).optional() });
const QueryBody = z.union([Query, z.object({ batch: z.array(Query) })], {
  error: "must be {sql, params} or {batch: [{sql, params}, …]}",
});

/** D1 databases: https://developers.cloudflare.com/api/resources/d1/ */
export const d1 = new Hono<ControlEnv>();

// The runtime's words, and D1's, for a call that was cut short: by the end of the shard, here.
const CUT_SHORT = "Network connection lost.";

d1.onError((error) => {
  if (error.message !== CUT_SHORT) throw error;
  return failure(
    new ApiError(
      503,
      SQL_ERROR,
      `${CUT_SHORT} The process that keeps the database has ended, as it does when a query takes too long. Whether it has done what was asked is not known. It is back in a moment`,
    ),
  );
});

d1.get("/d1/database", async (c) => {
  const databases = await listDatabases(c.env.CATALOG, accountOf(c), c.req.query("name"));
  const [rows, info] = paged(databases, (name) => c.req.query(name), DEFAULT_PER_PAGE);
  return success(rows.map(toRecord), info);
});

d1.post("/d1/database", async (c) => {
  const { name } = await readJson(c, CreateBody, MALFORMED);
  const database = await createDatabase(
    c.env.CATALOG,
    accountOf(c),
    name,
    Number(c.env.MAYFLY_SHARDS ?? 1),
  );
  if (!database) {
    throw new ApiError(400, NAME_TAKEN, `name: a database named "${name}" exists already`);
  }
  return success({ ...toRecord(database), num_tables: 0, file_size: 0 });
});

d1.get("/d1/database/:database", async (c) => {
  const database = await requireDatabase(c);
  const wanted = c.req.query("fields")?.split(",");
  const record: Record<string, unknown> = toRecord(database);
  if (!wanted || wanted.includes("file_size") || wanted.includes("num_tables")) {
    const { sizeBytes, tables } = await shard(c, database).info(database.id);
    Object.assign(record, { num_tables: tables, file_size: sizeBytes });
  }
  const fields = wanted ?? Object.keys(record);
  return success(Object.fromEntries(fields.map((field) => [field, record[field]])));
});

d1.delete("/d1/database/:database", async (c) => {
  const database = await requireDatabase(c);
  const { id, accountId } = database;
  // In this order a failure in between can be mended by deleting again.
  await shard(c, database).destroy(id);
  await deleteDatabase(c.env.CATALOG, accountId, id);
  return success(null);
});

d1.post("/d1/database/:database/query", async (c) =>
  success(
    (await runQuery(c)).map(({ columns, rows, meta }) => ({
      results: rows.map((row) =>
        Object.fromEntries(row.map((value, i) => [columns[i], toJson(value)])),
      ),
      success: true,
      meta,
    })),
  ),
);

d1.post("/d1/database/:database/raw", async (c) =>
  success(
    (await runQuery(c)).map(({ columns, rows, meta }) => ({
      results: { columns, rows: rows.map((row) => row.map(toJson)) },
      success: true,
      meta,
    })),
  ),
);

d1.all("/d1/database/:database/time_travel/:action", async (c) => {
  await requireDatabase(c);
  throw new ApiError(
    400,
    SQL_ERROR,
    "Time travel is not supported by Mayfly: databases keep no history. For a backup use wrangler d1 export, to restore it wrangler d1 execute --file.",
  );
});

d1.route("/", d1Transfer);

const accountOf = (c: Context<ControlEnv>): string => c.req.param("account_id") ?? "";

const shard = (c: Context<ControlEnv>, database: Database): ShardRole =>
  shardOf(c.env, c.executionCtx as ExecutionContext, database.shard);

function toRecord({ id, name, createdAt }: Database): Record<string, unknown> {
  return { uuid: id, name, created_at: createdAt, version: "production" };
}

/** Runs what the body asks for in one transaction. */
async function runQuery(c: Context<ControlEnv>): Promise<StatementResult[]> {
  const database = await requireDatabase(c);
  const { id } = database;
  const owner = shard(c, database);
  const body = await readJson(c, QueryBody, MALFORMED);
  let outcome: QueryOutcome;
  if ("batch" in body) outcome = await owner.query(id, body.batch.map(toStatement));
  else if (body.params?.length) outcome = await owner.query(id, [toStatement(body)]);
  else outcome = await owner.execute(id, body.sql);
  if (!outcome.ok) throw new ApiError(400, SQL_ERROR, outcome.error);
  return outcome.results;
}

const toStatement = ({ sql, params = [] }: z.output<typeof Query>): Statement => ({
  sql,
  params: params.map((value) => (typeof value === "boolean" ? Number(value) : value)),
});

const toJson = (value: SqlValue): unknown =>
  value instanceof ArrayBuffer ? Array.from(new Uint8Array(value)) : value;
