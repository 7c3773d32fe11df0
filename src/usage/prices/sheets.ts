import awsLambda from "./aws-lambda.json";
import azureFunctions from "./azure-functions.json";
import cloudflareWorkers from "./cloudflare-workers.json";
import googleCloudRunFunctions from "./google-cloud-run-functions.json";
import machineSheet from "./machines.json";
import { machines, sheet, type Machine, type Sheet } from "./sheet.ts";

const SHEETS: unknown[] = [cloudflareWorkers, awsLambda, googleCloudRunFunctions, azureFunctions];

let parsed: { sheets: Sheet[]; machines: Machine[] } | undefined;

/** All prices that are known. Parsed when they are asked for, as most processes never do. */
export const priceSheets = (): { sheets: Sheet[]; machines: Machine[] } =>
  (parsed ??= {
    sheets: SHEETS.map((one) => sheet.parse(one)),
    machines: machines.parse(machineSheet).machines,
  });
