/** The environment as it is handed in. Pure; config.ts reads the settings in it. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** An empty variable is how compose files and shells write "not set". */
export function isUnset(value: string | undefined): boolean {
  return value === undefined || value === "";
}
