// The custom build of wrangler.toml: what `src/` imports from `dist/`, and settings for development.
import { writePreludes } from "./preludes.ts";
import { writeDevVars } from "./dev-vars.ts";

await writePreludes();
writeDevVars();
