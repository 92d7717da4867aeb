import { expect, test } from 'vitest'
import { z } from 'zod'
import { jsonSchemaOf } from '../../src/rules/json-schema.ts'
import { zod } from '../../src/rules/zod.ts'

test('a schema is written with what its own copy of zod was told of it', () => {
  expect(zod()).not.toBe(z)
  expect(jsonSchemaOf(z.object({ cents: z.int().positive().describe('what is charged'), at: z.date() }))).toMatchObject(
    {
      properties: { cents: { type: 'integer', exclusiveMinimum: 0, description: 'what is charged' }, at: {} },
      required: ['cents', 'at'],
    },
  )
})
