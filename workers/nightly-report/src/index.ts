import { getReport, hasReport, listDays, putReport, type Format } from "./archive.ts";
import { dayBefore } from "./day.ts";
import type { Env } from "./env.ts";
import { toCsv, toHtml } from "./render.ts";
import { listSales } from "./sales.ts";

export default {
  /** Reports on the day before. The slot decides which, so a run that is repeated or late is the same. */
  async scheduled({ scheduledTime }, env): Promise<void> {
    const day = dayBefore(scheduledTime);
    if (await hasReport(env.REPORTS, day)) return;
    const sales = await listSales(env.DB, day);
    await putReport(env.REPORTS, day, { html: toHtml(day, sales), csv: toCsv(sales) });
    console.log(`report of ${day}: ${sales.length} rows`);
  },

  async fetch(request, env): Promise<Response> {
    if (request.method !== "GET") return text(405, "Only GET is allowed");
    const { pathname } = new URL(request.url);
    if (pathname === "/reports") return Response.json({ days: await listDays(env.REPORTS) });
    if (pathname === "/") {
      const latest = (await listDays(env.REPORTS)).at(-1);
      if (!latest) return text(404, "There is no report yet");
      return Response.redirect(new URL(`/reports/${latest}.html`, request.url).href, 302);
    }
    const [, day, format] = /^\/reports\/(\d{4}-\d\d-\d\d)\.(html|csv)$/.exec(pathname) ?? [];
    const report = day && (await getReport(env.REPORTS, day, format as Format));
    if (!report) return text(404, `There is no ${pathname}`);
    const headers = new Headers({ etag: report.httpEtag });
    report.writeHttpMetadata(headers);
    return new Response(report.body, { headers });
  },
} satisfies ExportedHandler<Env>;

const text = (status: number, message: string): Response =>
  new Response(`${message}\n`, { status });
