import { UsageFailure } from './failure.ts'

/** JSON that a person or a program wrote. What JavaScript would silently round is refused; nothing of the text is quoted. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text, refuseRounding as (key: string, value: unknown) => unknown)
  } catch (error) {
    throw error instanceof UsageFailure ? error : new UsageFailure('it is not JSON')
  }
}

function refuseRounding(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || context?.source === undefined) return value
  if (!Number.isFinite(value) || (/^-?\d+$/.test(context.source) && !Number.isSafeInteger(value))) {
    throw new UsageFailure('it has a number that JavaScript would round; write it as a string')
  }
  return value
}
