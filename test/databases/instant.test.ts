import pg from 'pg'
import { expect, test } from 'vitest'
import { instantOf } from '../../src/database/instant.ts'

const parse = pg.types.getTypeParser(1184, 'text') as (text: string) => Date

test.each([
  '2027-01-31 23:59:59.123456+00',
  '2027-01-31 23:59:59.9999+00',
  '2027-01-31 23:59:59.5-08',
  '2027-03-01 00:00:00+14',
  '2024-02-29 12:30:45.000001-11',
  '0101-01-01 00:00:00+00',
])('%s is the time that pg takes it for', (text) => {
  expect(instantOf(text)).toEqual(parse(text))
})

test.each([
  'infinity',
  '-infinity',
  '2027-01-31 23:59:59+05:30',
  '12027-01-31 23:59:59+00',
  '0044-03-15 12:00:00+00 BC',
  '0044-03-15 12:00:00+00',
])('%s is left to pg', (text) => {
  expect(instantOf(text)).toBeUndefined()
})
