/**
 * Builds dist/ where npm makes a package of a git repository (`npm install git+https://…`): it runs `prepare` there, and no `prepack`.
 *
 * npm runs `prepare` at the end of `npm ci` in a checkout as well. A checkout runs from src/ and needs no dist/, and has no compiler
 * after `--omit=dev`. There this only says when the Node that `npm start` will find is too old: .npmrc hides npm's own warnings.
 *
 * Plain JavaScript, as an old Node may run it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";

// The project that npm was started for: this checkout, or the project that is to get us as a dependency.
const project = process.env.npm_config_local_prefix;
const isCheckout = project !== undefined && realpathSync(project) === realpathSync(".");

if (isCheckout) {
  warnOfOldNode();
} else if (!existsSync("node_modules/.bin/tsc")) {
  process.stderr.write(
    "error: npm has not installed the compiler, so account-sync cannot be built: with --global, npm cannot build a git repository (https://github.com/npm/cli/issues/8440).\n       Run npm pack in a checkout and install the file that it makes, or install without --global.\n",
  );
  process.exitCode = 1;
} else {
  const { status } = spawnSync("npm run --silent build", { shell: true, stdio: "inherit" });
  process.exitCode = status ?? 1;
}

/** npm puts node_modules/.bin into PATH, for this script as for `npm start`: both run on the same Node. */
function warnOfOldNode() {
  const { engines } = JSON.parse(readFileSync("package.json", "utf8"));
  const required = Number.parseInt(engines.node.replace(">=", ""), 10);
  if (Number.parseInt(process.versions.node, 10) >= required) return;
  process.stderr.write(
    `warning: account-sync needs Node ${required} or newer, and this is Node ${process.versions.node}. Install Node ${required}, or run npm ci with development dependencies, which bring it.\n`,
  );
}
