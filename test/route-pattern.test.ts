import { describe, expect, it } from "vitest";
import {
  compareRoutes,
  formatRoutePattern,
  isInZone,
  matchesHost,
  parseRoutePattern,
  pickRoute,
} from "../src/catalog/route-pattern.ts";

describe("a route pattern is parsed", () => {
  it.each([
    ["example.com", "example.com/", "the path is / if none is given"],
    ["Example.COM/Images/*", "example.com/Images/*", "hosts have no case, paths have"],
    ["HTTPS://*.example.com/a", "https://*.example.com/a", "a scheme is kept"],
    ["*example.com/*", "*example.com/*", "an asterisk may touch the host"],
    ["*/*", "*/*", "all hosts of a zone"],
    ["my_app.example.com/*", "my_app.example.com/*", "underscores occur in scripts' names"],
    ["example.com/café/*", "example.com/caf%C3%A9/*", "paths are compared as they are sent"],
    ["example.com/caf%C3%A9", "example.com/caf%C3%A9", "encoded paths stay"],
  ])("%s as %s: %s", (pattern, expected) => {
    expect(formatRoutePattern(parseRoutePattern(pattern))).toBe(expected);
  });
});

describe("a route pattern is refused", () => {
  it.each([
    ["", "a host name"],
    ["/only/a/path", "a host name"],
    ["example.*/", "a host name"],
    ["a.*.example.com/", "a host name"],
    ["**example.com/", "a host name"],
    ["example.com:8080/", "no port"],
    ["ftp://example.com/", "a host name"],
    ["user@example.com/", "a host name"],
    ["-a.example.com/", "a host name"],
    ["a..example.com/", "a host name"],
    ["bücher.example/", "punycode"],
    ["exam ple.com/", "a host name"],
    ["127.0.0.1/*", "IP address"],
    ["*.0x7f/*", "IP address"],
    ["[::1]/*", "a host name"],
    ["example.com/?a=*", "without query"],
    ["example.com/#top", "fragment"],
    ["example.com/*.jpg", "without * inside the path"],
    ["example.com/a/**", "without * inside the path"],
    [`example.com/${"a".repeat(2048)}`, "at most 2048"],
  ])("%s", (pattern, reason) => {
    expect(() => parseRoutePattern(pattern)).toThrow(reason);
  });
});

describe("a route's host is in a zone", () => {
  it.each([
    ["example.com", true],
    ["www.example.com", true],
    ["*.example.com", true],
    ["*example.com", true],
    ["*shop.example.com", true],
    ["*", true],
    ["notexample.com", false],
    ["*notexample.com", false],
    ["*ple.com", false],
    ["com", false],
    ["example.com.evil.net", false],
  ])("%s in example.com: %s", (host, expected) => {
    expect(isInZone(host, "example.com")).toBe(expected);
  });
});

describe("a request goes to the most specific route", () => {
  it.each<[routes: string[], url: string, expected: string | undefined]>([
    // What hosts match.
    [["example.com"], "http://example.com/", "example.com"],
    [["example.com"], "http://example.com/?a=1", undefined],
    [["example.com"], "http://example.com/a", undefined],
    [["example.com/*"], "http://www.example.com/", undefined],
    [["*.example.com/*"], "http://www.example.com/", "*.example.com/*"],
    [["*.example.com/*"], "http://example.com/", undefined],
    [["*example.com/*"], "http://example.com/", "*example.com/*"],
    [["*example.com/*"], "http://a.b.example.com/", "*example.com/*"],
    [["*/*"], "http://anything.example.com/x", "*/*"],
    // Hosts: exact before wildcard, longer wildcard before shorter, whatever the path.
    [["*.example.com/*", "www.example.com/*"], "http://www.example.com/", "www.example.com/*"],
    [["*.example.com/a", "a.example.com/*"], "http://a.example.com/a", "a.example.com/*"],
    [
      ["*.example.com/*", "*.shop.example.com/*"],
      "http://a.shop.example.com/",
      "*.shop.example.com/*",
    ],
    [["*example.com/*", "*.example.com/*"], "http://a.example.com/", "*.example.com/*"],
    [["*/*", "*example.com/*"], "http://a.example.com/", "*example.com/*"],
    // A more specific host whose path does not match leaves the request to the next.
    [["*.example.com/*", "a.example.com/x"], "http://a.example.com/y", "*.example.com/*"],
    // Paths: longer first, exact before prefix.
    [["example.com/*", "example.com/hello/*"], "http://example.com/hello/w", "example.com/hello/*"],
    [["example.com/*", "example.com/hello/*"], "http://example.com/hello", "example.com/*"],
    [
      ["example.com/images*", "example.com/images/*"],
      "http://example.com/images/a",
      "example.com/images/*",
    ],
    [
      ["example.com/images*", "example.com/images/*"],
      "http://example.com/images1",
      "example.com/images*",
    ],
    [["example.com/a*", "example.com/a"], "http://example.com/a", "example.com/a"],
    [["example.com/a*", "example.com/a"], "http://example.com/a?q", "example.com/a*"],
    [["example.com/A*"], "http://example.com/a", undefined],
    // Schemes: the one that is named wins, the other does not match.
    [["example.com/*", "https://example.com/*"], "https://example.com/", "https://example.com/*"],
    [["example.com/*", "https://example.com/*"], "http://example.com/", "example.com/*"],
    [["http://example.com/*"], "https://example.com/", undefined],
  ])("%j: %s to %s", (patterns, url, expected) => {
    const { protocol, hostname, pathname, search } = new URL(url);
    const routes = patterns
      .map((pattern) => ({ pattern, ...parseRoutePattern(pattern) }))
      .filter((route) => matchesHost(route, hostname));
    // The order in which routes were made must not matter.
    for (const order of [routes, routes.toReversed()]) {
      const sorted = order.toSorted(compareRoutes);
      expect(pickRoute(sorted, protocol.slice(0, -1), pathname + search)?.pattern).toBe(expected);
    }
  });
});
