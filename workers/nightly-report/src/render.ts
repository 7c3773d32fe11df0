import type { Day } from "./day.ts";
import type { Sales } from "./sales.ts";

/** The sales as CSV (RFC 4180), amounts as decimals. */
export function toCsv(sales: Sales[]): string {
  const rows = sales.map(({ product, currency, orders, quantity, amount }) =>
    [cell(product), currency, orders, quantity, toDecimal(amount, currency)].join(","),
  );
  return ["product,currency,orders,quantity,amount", ...rows, ""].join("\r\n");
}

/** The report as a page. */
export function toHtml(day: Day, sales: Sales[]): string {
  const rows = sales.map(
    ({ product, currency, orders, quantity, amount }) =>
      `<tr><td>${escapeHtml(product)}</td><td>${orders}</td><td>${quantity}</td><td>${toDecimal(amount, currency)} ${escapeHtml(currency)}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Sales on ${day}</title>
<style>body{font:1rem system-ui;margin:2rem}td,th{padding:.2rem 1rem .2rem 0;text-align:left}</style>
<h1>Sales on ${day}</h1>
<p>${totals(sales)} · <a href="/reports/${day}.csv">CSV</a></p>
<table>
<tr><th>Product</th><th>Orders</th><th>Quantity</th><th>Amount</th></tr>
${rows.join("\n")}
</table>
</html>
`;
}

function totals(sales: Sales[]): string {
  if (sales.length === 0) return "No orders";
  const amounts = new Map<string, number>();
  for (const { currency, amount } of sales) {
    amounts.set(currency, (amounts.get(currency) ?? 0) + amount);
  }
  const orders = sales.reduce((sum, { orders }) => sum + orders, 0);
  const parts = [...amounts].map(
    ([currency, amount]) => `${toDecimal(amount, currency)} ${escapeHtml(currency)}`,
  );
  return `${orders} ${orders === 1 ? "order" : "orders"}: ${parts.join(", ")}`;
}

/** The amount in whole units: most currencies have two decimals, some have none or three. */
function toDecimal(amount: number, currency: string): string {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return (amount / 10 ** digits).toFixed(digits);
}

// Spreadsheets take a text that begins with one of these for a formula.
const FORMULA = /^[=+\-@\t\r]/;

function cell(text: string): string {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
