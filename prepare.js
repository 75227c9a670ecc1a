/**
 * Builds dist/ where npm makes a package of a git repository (`npm install git+https://…`): it runs `prepare` there, and no `prepack`.
 *
 * npm runs `prepare` at the end of `npm ci` in a checkout as well. A checkout runs from src/ and needs no dist/, and has no compiler
 * after `--omit=dev`.
 *
 * Plain JavaScript, as an old Node may run it.
 */
import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";

// The project that npm was started for: this checkout, or the project that is to get us as a dependency.
const project = process.env.npm_config_local_prefix;
const isCheckout = project !== undefined && realpathSync(project) === realpathSync(".");

if (!isCheckout) {
  const { status } = spawnSync("npm run --silent build", { shell: true, stdio: "inherit" });
  process.exitCode = status ?? 1;
}
