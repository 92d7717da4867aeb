import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'
import type { z } from 'zod'
import { zod } from './zod.ts'

const DRAFT = 'draft-2020-12'

/**
 * What a schema takes, as JSON Schema, for readers in every language; null when its library cannot say. What JSON Schema has no
 * word for (a function that checks, a Date) is left open in it.
 */
export function jsonSchemaOf(schema: StandardSchemaV1): Readonly<Record<string, unknown>> | null {
  for (const write of [ofZod, ofStandard, ofMethod]) {
    const written = attempt(() => write(schema))
    if (written !== undefined) return written
  }
  return null
}

type Written = Record<string, unknown> | undefined

// zod refuses a schema as a whole for one part that it cannot write, unless it is told to leave that part open.
function ofZod(schema: StandardSchemaV1): Written {
  if (schema['~standard'].vendor !== 'zod' || !('_zod' in schema)) return undefined
  return zod().toJSONSchema(schema as unknown as z.ZodType, { io: 'input', unrepresentable: 'any', target: DRAFT })
}

function ofStandard(schema: StandardSchemaV1): Written {
  const { jsonSchema } = schema['~standard'] as Partial<StandardJSONSchemaV1.Props>
  return jsonSchema?.input({ target: DRAFT })
}

// arktype, before it knew the standard.
function ofMethod(schema: StandardSchemaV1): Written {
  const { toJsonSchema } = schema as { toJsonSchema?: () => Record<string, unknown> }
  return typeof toJsonSchema === 'function' ? toJsonSchema.call(schema) : undefined
}

function attempt(write: () => Written): Written {
  try {
    const written = write()
    return typeof written === 'object' && written !== null ? JSON.parse(JSON.stringify(written)) : undefined
  } catch {
    return undefined
  }
}
