import type { z } from 'zod'
import { InvalidOption, UnknownOption } from '../errors.ts'
import { TEN_YEARS_MS } from './validate.ts'
import { type Zod, zod } from './zod.ts'

/** What something given has to look like. */
export type Shape<Schema extends z.ZodType = z.ZodType> = () => Schema

/** What is made of it when it does. */
export type Parsed<Given extends Shape> = z.output<ReturnType<Given>>

/** A shape that is made when it is first needed, and once. */
export function shape<Schema extends z.ZodType>(make: (z: Zod) => Schema): Shape<Schema> {
  let made: Schema | undefined
  return () => {
    made ??= make(zod())
    return made
  }
}

/**
 * Options as they are used, defaults filled in; or an `UnknownOption` with the nearest that exists, or an `InvalidOption` that
 * names the option and what it takes. Values are never quoted: some are secrets.
 *
 * ```text
 * const OPTIONS = shape((z) => z.strictObject({ pollIntervalMs: milliseconds().default(1_000) }))
 * const options = parseOptions(OPTIONS, given)
 * ```
 */
export function parseOptions<Schema extends z.ZodType>(shape: Shape<Schema>, given: unknown): z.output<Schema> {
  const schema = shape()
  const result = schema.safeParse(given)
  if (result.success) return result.data
  throw firstProblem(schema, result.error.issues)
}

/** Refuses an option that nobody reads, where nothing else is to be checked. */
export function refuseUnknown(given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) if (!known.includes(name)) throw new UnknownOption(name, known)
}

/** Whole milliseconds, `least` or more, ten years at most. */
export function milliseconds(least = 0): z.ZodInt {
  return zod().int().min(least).max(TEN_YEARS_MS)
}

/** A whole number in a range. */
export function wholeNumber(least: number, most: number): z.ZodInt {
  return zod().int().min(least).max(most)
}

/** A value of yours that is passed on as it is: a pool, a logger, a function. */
export function passedThrough<Value>(): z.ZodType<Value, Value> {
  return zod().custom<Value>(() => true)
}

type Issue = z.core.$ZodIssue

function firstProblem(schema: z.ZodType, issues: readonly Issue[]): UnknownOption | InvalidOption {
  const unknown = issues.find((issue) => issue.code === 'unrecognized_keys')
  if (unknown) return new UnknownOption(optionOf([...unknown.path, unknown.keys[0]!]), knownAt(schema, unknown.path))
  const [issue] = issues
  return new InvalidOption(optionOf(issue?.path ?? []) || 'options', reasonOf(issue))
}

function optionOf(path: readonly PropertyKey[]): string {
  return path.map(String).join('.')
}

function reasonOf(issue: Issue | undefined): string {
  const message = issue?.message ?? 'it is invalid'
  return message.charAt(0).toLowerCase() + message.slice(1)
}

/** The options known where the unknown one stands, written with the path that leads there. */
function knownAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const { ZodObject } = zod()
  let inner: unknown = bare(schema)
  for (const key of path) {
    inner = bare(inner instanceof ZodObject ? inner.shape[key as string] : elementOf(inner))
  }
  if (!(inner instanceof ZodObject)) return []
  return Object.keys(inner.shape).map((name) => optionOf([...path, name]))
}

function elementOf(schema: unknown): unknown {
  const { ZodArray, ZodRecord } = zod()
  if (schema instanceof ZodArray) return schema.element
  if (schema instanceof ZodRecord) return schema.valueType
  return undefined
}

function bare(schema: unknown): unknown {
  const { ZodOptional, ZodDefault, ZodNullable, ZodReadonly } = zod()
  let inner = schema
  while (
    inner instanceof ZodOptional ||
    inner instanceof ZodDefault ||
    inner instanceof ZodNullable ||
    inner instanceof ZodReadonly
  ) {
    inner = inner.unwrap()
  }
  return inner
}
