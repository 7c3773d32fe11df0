import { describe, expect, it } from "vitest";
import { isMissed, toStep } from "../src/triggers/cron/catch-up.ts";
import { parseCron } from "../src/triggers/cron/schedule.ts";

const show = (slot: number): string => new Date(slot).toISOString().slice(0, 16);

/** The slots that follow, as many as are expected. */
function slotsAfter(expression: string, after: string, count: number): string[] {
  const schedule = parseCron(expression);
  const slots = [];
  let time = Date.parse(`${after}Z`);
  while (slots.length < count) {
    time = schedule.next(time) ?? NaN;
    slots.push(show(time));
  }
  return slots;
}

describe("the slots after a time", () => {
  it.each([
    ["every minute", "* * * * *", "2026-11-21T13:10:30", ["2026-11-21T13:11", "2026-11-21T13:12"]],
    [
      "a slot is not after itself",
      "*/30 * * * *",
      "2026-11-21T13:30",
      ["2026-11-21T14:00", "2026-11-21T14:30"],
    ],
    [
      "steps from a value go on to the last one",
      "5/20 * * * *",
      "2026-11-21T23:44",
      ["2026-11-21T23:45", "2026-11-22T00:05", "2026-11-22T00:25"],
    ],
    [
      "lists of steps and ranges",
      "*/15,30-59/10 0 * * *",
      "2026-11-21T23:59",
      [
        "2026-11-22T00:00",
        "2026-11-22T00:15",
        "2026-11-22T00:30",
        "2026-11-22T00:40",
        "2026-11-22T00:45",
        "2026-11-22T00:50",
        "2026-11-23T00:00",
      ],
    ],
    [
      "ranges over midnight",
      "0 22-2/2 * * *",
      "2026-11-21T21:00",
      ["2026-11-21T22:00", "2026-11-22T00:00", "2026-11-22T02:00", "2026-11-22T22:00"],
    ],
    [
      "the last minute of the year",
      "59 23 31 12 *",
      "2026-12-31T23:59",
      ["2027-12-31T23:59", "2028-12-31T23:59"],
    ],
    [
      "months by name in any case",
      "0 0 1 jan,Jul *",
      "2026-11-21T00:00",
      ["2027-01-01T00:00", "2027-07-01T00:00"],
    ],
    [
      "every ten days, from the first",
      "0 0 */10 * *",
      "2026-12-01T00:00",
      ["2026-12-11T00:00", "2026-12-21T00:00", "2026-12-31T00:00", "2027-01-01T00:00"],
    ],
    [
      "31 only where there is one",
      "0 0 31 * *",
      "2027-01-31T00:00",
      ["2027-03-31T00:00", "2027-05-31T00:00"],
    ],
    [
      "the last day of a month",
      "0 0 L * *",
      "2027-01-31T00:00",
      ["2027-02-28T00:00", "2027-03-31T00:00", "2027-04-30T00:00"],
    ],
    [
      "the last day of February",
      "0 0 L 2 *",
      "2026-11-21T00:00",
      ["2027-02-28T00:00", "2028-02-29T00:00", "2029-02-28T00:00"],
    ],
    [
      "days before the last",
      "0 0 L-3 1-2 *",
      "2027-01-01T00:00",
      ["2027-01-28T00:00", "2027-02-25T00:00", "2028-01-28T00:00", "2028-02-26T00:00"],
    ],
    [
      "so many days before the last that some months have none",
      "0 0 L-30 * *",
      "2027-01-01T00:00",
      ["2027-03-01T00:00", "2027-05-01T00:00"],
    ],
    [
      "the last weekday of a month",
      "59 23 LW * *",
      "2027-01-01T00:00",
      ["2027-01-29T23:59", "2027-02-26T23:59", "2027-03-31T23:59"],
    ],
    [
      "the weekday nearest to days before the last",
      "0 0 L-3W 2 *",
      "2027-01-01T00:00",
      ["2027-02-25T00:00", "2028-02-25T00:00", "2029-02-26T00:00"],
    ],
    [
      "the weekday nearest to a Sunday and a Tuesday",
      "0 0 15W * *",
      "2026-11-01T00:00",
      ["2026-11-16T00:00", "2026-12-15T00:00"],
    ],
    ["the weekday nearest to a Saturday", "0 0 15W 5 *", "2027-01-01T00:00", ["2027-05-14T00:00"]],
    [
      "the weekday nearest to a first on Saturday, in the same month",
      "0 0 1W 5,8 *",
      "2027-01-01T00:00",
      ["2027-05-03T00:00", "2027-08-02T00:00"],
    ],
    [
      "the weekday nearest to a last on Sunday, in the same month",
      "0 0 31W * *",
      "2027-01-01T00:00",
      ["2027-01-29T00:00", "2027-03-31T00:00"],
    ],
    [
      "leap days, none in 2100",
      "0 0 29 2 *",
      "2092-03-01T00:00",
      ["2096-02-29T00:00", "2104-02-29T00:00"],
    ],
    ["1 is Sunday", "0 17 * * 1", "2026-11-21T00:00", ["2026-11-22T17:00", "2026-11-29T17:00"]],
    ["7 is Saturday", "0 17 * * 7", "2026-11-21T17:00", ["2026-11-28T17:00"]],
    ["L is Saturday", "0 0 * * L", "2026-11-21T00:00", ["2026-11-28T00:00", "2026-12-05T00:00"]],
    [
      "days of the week by name",
      "10 7 * * mon-fri",
      "2026-11-20T07:10",
      ["2026-11-23T07:10", "2026-11-24T07:10"],
    ],
    [
      "days of the week over the weekend",
      "0 0 * * FRI-MON",
      "2026-11-26T00:00",
      [
        "2026-11-27T00:00",
        "2026-11-28T00:00",
        "2026-11-29T00:00",
        "2026-11-30T00:00",
        "2026-12-04T00:00",
      ],
    ],
    [
      "the last Friday of a month",
      "0 0 * * 6L",
      "2026-11-21T00:00",
      ["2026-11-27T00:00", "2026-12-25T00:00", "2027-01-29T00:00"],
    ],
    ["the same by name", "0 0 * * friL", "2026-11-21T00:00", ["2026-11-27T00:00"]],
    [
      "the first Monday of a month",
      "0 0 * * 2#1",
      "2026-11-21T00:00",
      ["2026-12-07T00:00", "2027-01-04T00:00", "2027-02-01T00:00"],
    ],
    [
      "the fifth Friday where there is one",
      "0 0 * * FRI#5",
      "2027-01-01T00:00",
      ["2027-01-29T00:00", "2027-04-30T00:00"],
    ],
    [
      "either of both kinds of days",
      "0 0 13 * 6",
      "2026-11-21T00:00",
      [
        "2026-11-27T00:00",
        "2026-12-04T00:00",
        "2026-12-11T00:00",
        "2026-12-13T00:00",
        "2026-12-18T00:00",
      ],
    ],
    [
      "either of both kinds of days, one counted from the end",
      "0 0 L-1 * 2",
      "2027-01-25T00:00",
      ["2027-01-30T00:00", "2027-02-01T00:00", "2027-02-08T00:00"],
    ],
    [
      "tabs and several spaces between fields",
      "0\t0  1 1 *",
      "2026-11-21T00:00",
      ["2027-01-01T00:00"],
    ],
  ])("%s: %s", (_, expression, after, slots) => {
    expect(slotsAfter(expression, after, slots.length)).toEqual(slots);
  });
});

describe("an expression is refused for", () => {
  it.each([
    ["* * * *", "fields"],
    ["* * * * * *", "fields"],
    [" * * * * *", "fields"],
    ["@daily", "fields"],
    ["60 * * * *", "minute"],
    ["*/60 * * * *", "minute"],
    ["*/0 * * * *", "minute"],
    ["5,* * * * *", "minute"],
    ["1-2-3 * * * *", "minute"],
    ["1.5 * * * *", "minute"],
    ["? * * * *", "minute"],
    ["mon * * * *", "minute"],
    ["* 24 * * *", "hour"],
    ["* , * * *", "hour"],
    ["* * 0 * *", "day of month"],
    ["* * 32 * *", "day of month"],
    ["* * L,15 * *", "day of month"],
    ["* * 15W,20 * *", "day of month"],
    ["* * l * *", "day of month"],
    ["* * L-31 * *", "day of month"],
    ["* * L-0 * *", "day of month"],
    ["* * 5L * *", "day of month"],
    ["* * * 0 *", "month"],
    ["* * * january *", "month"],
    ["* * * * 0", "day of week"],
    ["* * * * 8", "day of week"],
    ["* * * * 2#6", "day of week"],
    ["* * * * 2#1,3#1", "day of week"],
    ["* * * * #1", "day of week"],
    ["* * * * 5W", "day of week"],
    ["0 0 31 2 *", "day of month"],
    ["0 0 30W feb *", "day of month"],
    ["0 0 L-29 2 *", "day of month"],
  ])("%s: %s", (expression, field) => {
    expect(() => parseCron(expression)).toThrow(
      `invalid cron string ${JSON.stringify(expression)}: ${field}: got `,
    );
  });

  it("its length", () => {
    expect(() => parseCron(`${"0,".repeat(200)}0 * * * *`)).toThrow("length: got");
  });

  it("a field, with its value and what is allowed", () => {
    expect(() => parseCron("0 0 * * 0")).toThrow(
      'day of week: got "0", must be 1-7 (1 is Sunday) or SUN-SAT with * , - /, or one of L, <day>L and <day>#<1-5>',
    );
  });
});

describe("of the slots that passed", () => {
  const hourly = parseCron("0 * * * *");
  const from = Date.parse("2026-11-21T10:00Z");

  /** Each slot that is run, and whether it had been missed. */
  function run(now: string, policy: "latest" | "all" | "none", cron = hourly): [string, boolean][] {
    const time = Date.parse(`${now}Z`);
    const runs: [string, boolean][] = [];
    let due: number | undefined = from;
    while (due !== undefined && due <= time) {
      const { slot, nextAt } = toStep(cron, due, time, policy);
      if (slot !== undefined) runs.push([show(slot), isMissed(slot, time)]);
      due = nextAt;
    }
    return runs;
  }

  it.each(["latest", "all", "none"] as const)("one in time is run with %s", (policy) => {
    expect(run("2026-11-21T10:00:00.000", policy)).toEqual([["2026-11-21T10:00", false]]);
    expect(run("2026-11-21T10:01:00.000", policy)).toEqual([["2026-11-21T10:00", false]]);
  });

  it("the newest is run with latest", () => {
    expect(run("2026-11-21T12:30", "latest")).toEqual([["2026-11-21T12:00", true]]);
    expect(run("2026-11-21T13:00:10", "latest")).toEqual([["2026-11-21T13:00", false]]);
  });

  it("every one is run with all, oldest first", () => {
    expect(run("2026-11-21T12:00:10", "all")).toEqual([
      ["2026-11-21T10:00", true],
      ["2026-11-21T11:00", true],
      ["2026-11-21T12:00", false],
    ]);
  });

  it("no missed one is run with none", () => {
    expect(run("2026-11-21T12:30", "none")).toEqual([]);
    expect(run("2026-11-21T13:00:10", "none")).toEqual([["2026-11-21T13:00", false]]);
  });

  it("1,440 are run with all, the newest", () => {
    const runs = run("2026-11-23T10:00:30", "all", parseCron("* * * * *"));
    expect(runs).toHaveLength(1_440);
    expect(runs[0]).toEqual(["2026-11-22T10:01", true]);
    expect(runs.at(-1)).toEqual(["2026-11-23T10:00", false]);
  });
});
