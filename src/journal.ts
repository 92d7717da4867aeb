import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { type Act, acts } from './postgres/journal.ts'
import { parseOptions, shape, wholeNumber } from './rules/options.ts'

export type { Act } from './postgres/journal.ts'

/** Which acts to tell of. */
export interface JournalOptions {
  /** What was done to this queue. @default any */
  readonly queue?: string | undefined
  /** How many, 1 to 1,000. @default 100 */
  readonly limit?: number | undefined
  /** Continues a list: only what is older than this id. @default from the newest */
  readonly before?: string | undefined
}

const OPTIONS = shape((z) =>
  z.strictObject({
    queue: z.string().optional(),
    limit: wholeNumber(1, 1_000).default(100),
    before: z
      .string()
      .regex(/^\d{1,18}$/, 'it is not an id')
      .optional(),
  }),
)

/** Who did what by hand, the newest first; kept for a year. */
export async function journal(context: Context, options: JournalOptions = {}): Promise<Act[]> {
  const { queue = null, limit, before = null } = parseOptions(OPTIONS, options)
  return await ask(context, acts(context.tables, { queue, limit, before }))
}
