import type { Queryable } from './postgres/queryable.ts'
import { type AnyTransaction, outsideOfTransaction, recognise } from './transaction-handle.ts'

const INSIDE = `select current_setting('posthaste.probe', true) = $1::text as inside`

let made = 0

/**
 * Does the work in a savepoint of your transaction: when it throws, nothing of it stays, whatever becomes of the transaction.
 * An SQL error aborts the transaction, as ever. Outside of one it is refused.
 */
export async function inSavepoint<Result>(
  tx: AnyTransaction,
  work: (queryable: Queryable) => Promise<Result>,
): Promise<Result> {
  const { queryable, proof } = await recognise(tx)
  if (proof !== undefined) {
    const { rows } = await queryable.query(INSIDE, [proof])
    if (!rows[0]?.inside) throw outsideOfTransaction(tx)
  }
  made = (made + 1) % 1_000_000
  const name = `posthaste_${made}`
  await queryable.query(`savepoint ${name}`, [])
  try {
    const result = await work(queryable)
    await queryable.query(`release savepoint ${name}`, [])
    return result
  } catch (error) {
    await queryable.query(`rollback to savepoint ${name}`, []).catch(() => {})
    throw error
  }
}
