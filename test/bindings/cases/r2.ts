import { equal, ok } from "../assert.ts";
import type { Case, Differences } from "../case.ts";

export const cases: Record<string, Case> = {
  async "an object comes back with its size and etag"({ R2 }) {
    const put = await R2.put("hello", "hello");
    const got = await R2.get("hello");
    ok(put && got);
    equal(await got.text(), "hello");
    equal(got.size, 5);
    equal(got.etag, put.etag);
    equal(got.httpEtag, `"${put.etag}"`);
  },
};

export const differences: Differences = {};
