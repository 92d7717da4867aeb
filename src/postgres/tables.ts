import { InvalidSchemaName } from '../errors.ts'

/** The one place where the schema's name enters a statement. */
export interface Tables {
  readonly schema: string
  /** A table or a function of the schema, quoted and qualified. */
  of(name: string): string
}

const SCHEMA_NAME = /^[a-z_][a-z0-9_]{0,40}$/

/** The schema's names are short enough that a channel or an identifier made from them is never cut at 63 bytes. */
export function tablesOf(schema: string): Tables {
  if (!SCHEMA_NAME.test(schema) || schema.startsWith('pg_')) throw new InvalidSchemaName(schema)
  return Object.freeze({ schema, of: (name: string) => `"${schema}".${name}` })
}

/** A text that depends on nothing but the schema, made once for each: what is long is then known by its identity. */
export function perSchema(make: (t: Tables) => string): (t: Tables) => string {
  const made = new WeakMap<Tables, string>()
  return (t) => {
    const text = made.get(t) ?? make(t)
    made.set(t, text)
    return text
  }
}
