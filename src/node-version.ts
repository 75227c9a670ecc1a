/**
 * The Node version that account-sync needs, and the error on an older one. It imports nothing, so that every Node that supports modules
 * can load it: a module that imports a name which an old Node lacks fails before the first line runs.
 */

/** As in `engines` of package.json. */
export const REQUIRED_NODE_MAJOR = 24;

export interface NodeProblem {
  readonly message: string;
  readonly hint: string;
}

/** What is wrong with this version of Node ("20.20.2"), or null when nothing is. */
export function findNodeProblem(version: string): NodeProblem | null {
  const major = Number.parseInt(version, 10);
  if (major >= REQUIRED_NODE_MAJOR) return null;
  return {
    message: `account-sync needs Node ${REQUIRED_NODE_MAJOR} or newer, and this is Node ${version}.`,
    hint: `Install Node ${REQUIRED_NODE_MAJOR} (https://nodejs.org, or nvm install ${REQUIRED_NODE_MAJOR}). npm 11 and older can run a command on it without that: npx --package node@${REQUIRED_NODE_MAJOR} -- account-sync`,
  };
}
