/** Builds what the platform under test is made of, once for all test files. */
export default async function setup(): Promise<void> {
  await import("../../scripts/build.ts");
}
