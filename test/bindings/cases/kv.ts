import { deepEqual, equal, ok } from "../assert.ts";
import type { Case, Differences } from "../case.ts";

export const cases: Record<string, Case> = {
  async "a value comes back as text, json, arrayBuffer and stream"({ KV }) {
    await KV.put("types", '{"a":[1]}');
    equal(await KV.get("types"), '{"a":[1]}');
    equal(await KV.get("types", "text"), '{"a":[1]}');
    deepEqual(await KV.get("types", "json"), { a: [1] });
    deepEqual(await KV.get("types", { type: "json" }), { a: [1] });
    const buffer = await KV.get("types", "arrayBuffer");
    ok(buffer instanceof ArrayBuffer);
    equal(buffer.byteLength, 9);
    const stream = await KV.get("types", "stream");
    ok(stream instanceof ReadableStream);
    equal(await new Response(stream).text(), '{"a":[1]}');
  },
};

export const differences: Differences = {};
