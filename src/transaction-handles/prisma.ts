import { TransactionRequired } from '../errors.ts'
import { has, type Library, through } from './library.ts'

/** Prisma's interactive transaction; the client is none. */
export interface PrismaTransactionHandle {
  $queryRawUnsafe(text: string, ...values: unknown[]): PromiseLike<unknown>
  readonly $connect?: never
}

export const prisma: Library = {
  knows: (handle) => has(handle, '$queryRawUnsafe'),
  open(tx: PrismaTransactionHandle) {
    if (has(tx, '$connect'))
      throw new TransactionRequired('PrismaClient', 'pass the tx of prisma.$transaction(async (tx) => …)')
    return through(
      'Prisma transaction',
      (text, values) => tx.$queryRawUnsafe(text, ...values) as PromiseLike<unknown[]>,
    )
  },
}
