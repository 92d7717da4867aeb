import { isDeepStrictEqual } from 'node:util'

/** Part of a value: what it says must hold, what it leaves out may be anything. vitest's and jest's `expect.any(…)` fit anywhere. */
export type Part<Value> = Value extends (infer Item)[]
  ? readonly Part<Item>[]
  : Value extends object
    ? { readonly [Name in keyof Value]?: Part<Value[Name]> }
    : unknown

/** Whether a value has everything that a part of it says. Lists are compared whole, item by item; a RegExp fits a text. */
export function fits(part: unknown, value: unknown): boolean {
  if (isAsymmetric(part)) return part.asymmetricMatch(value)
  if (part instanceof RegExp) return typeof value === 'string' && part.test(value)
  if (part instanceof Date || value instanceof Date) return isDeepStrictEqual(part, value)
  if (Array.isArray(part)) {
    return Array.isArray(value) && part.length === value.length && part.every((each, at) => fits(each, value[at]))
  }
  if (typeof part !== 'object' || part === null) return Object.is(part, value)
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(part).every(([name, inner]) => fits(inner, (value as Record<string, unknown>)[name]))
}

interface Asymmetric {
  asymmetricMatch(value: unknown): boolean
}

function isAsymmetric(part: unknown): part is Asymmetric {
  return typeof (part as Partial<Asymmetric> | null | undefined)?.asymmetricMatch === 'function'
}
