/**
 * Imported first by the library: on a Node that is too old, the import fails with one sentence instead of a syntax or link error.
 * The command calls `findNodeProblem` itself, as it prints errors and chooses the exit code.
 */
import { findNodeProblem } from "./node-version.ts";
import { OperatorError } from "./operator-error.ts";

const problem = findNodeProblem(process.versions.node);
if (problem !== null) throw new OperatorError(problem.message, { hint: problem.hint, exitCode: 2 });
