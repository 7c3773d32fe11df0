import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ApiError, invalid } from "./error.ts";

/** Page information of a listing; members as in Cloudflare's API. */
export interface ResultInfo {
  page?: number;
  per_page?: number;
  count?: number;
  total_count?: number;
  cursor?: string;
  /** Of kept logs. */
  newer_cursor?: string;
  is_truncated?: boolean;
  delimited?: string[];
}

/** The body of every answer of the API, but for raw values and objects. */
export function success(result: unknown, info?: ResultInfo, messages: string[] = []): Response {
  return Response.json({
    success: true,
    errors: [],
    messages,
    result,
    ...(info && { result_info: info }),
  });
}

export function failure(error: ApiError): Response {
  const { status, code, message, meta } = error;
  return Response.json(
    {
      success: false,
      errors: [{ code, message, ...(meta && { meta }) }],
      messages: [],
      result: null,
    },
    { status: status satisfies ContentfulStatusCode },
  );
}

const MAX_LIMIT = 1_000;

/** The query's `limit`, a whole number from 1 to 1,000, 100 by default; throws if it is no such number. */
export function limitOf(query: (name: string) => string | undefined): number {
  const limit = Number(query("limit") ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw invalid(10001, "limit", query("limit"), `a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

/** The query's `page` (from 1) and `per_page`; throws if one is no such number. */
export function pageOf(
  query: (name: string) => string | undefined,
  defaultPerPage: number,
): { page: number; perPage: number } {
  const positive = (name: string, otherwise: number): number => {
    const value = Number(query(name) ?? otherwise);
    if (!Number.isInteger(value) || value < 1) {
      throw new ApiError(
        400,
        10001,
        `${name}: got "${query(name)}", must be a whole number from 1`,
      );
    }
    return value;
  };
  return { page: positive("page", 1), perPage: positive("per_page", defaultPerPage) };
}

/** One page of `rows` by the query's `page` and `per_page`, with its result_info. */
export function paged<T>(
  rows: T[],
  query: (name: string) => string | undefined,
  defaultPerPage: number,
): [T[], ResultInfo] {
  const { page, perPage } = pageOf(query, defaultPerPage);
  const result = rows.slice((page - 1) * perPage, page * perPage);
  return [result, { page, per_page: perPage, count: result.length, total_count: rows.length }];
}
