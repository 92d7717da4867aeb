import { TransactionRequired } from '../errors.ts'
import { has, type Library, through } from './library.ts'

/** Sequelize's `Transaction`, managed or not; a `Sequelize` is none. */
export interface SequelizeTransactionHandle {
  commit(): Promise<void>
  rollback(): Promise<void>
  // biome-ignore lint/suspicious/noExplicitAny: a hook of whatever shape
  afterCommit(hook: any): unknown
}

interface Handle extends SequelizeTransactionHandle {
  readonly finished?: string
  readonly sequelize: { query(text: string, options: object): Promise<unknown[]> }
}

const ADVICE = 'pass the t of sequelize.transaction(async (t) => …)'

export const sequelize: Library = {
  knows: (handle) =>
    (has(handle, 'commit') && has((handle as { sequelize?: unknown }).sequelize, 'query')) ||
    (has(handle, 'authenticate') && has(handle, 'getQueryInterface')),
  open(handle: Handle) {
    if (!has(handle, 'commit')) throw new TransactionRequired('Sequelize', ADVICE)
    if (handle.finished) throw new TransactionRequired('Sequelize transaction', 'it is over; publish before it ends')
    return through('Sequelize transaction', (text, values) =>
      handle.sequelize.query(text, { bind: [...values], transaction: handle, type: 'SELECT', raw: true }),
    )
  },
}
