import { PrismaPg } from '@prisma/adapter-pg'
import { type Prisma, PrismaClient } from '@prisma/client'
import type { Subject } from '../subject.ts'

export const subject: Subject<Prisma.TransactionClient> = {
  name: 'Prisma',
  async open(url) {
    const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) })
    return {
      transaction: (work) => prisma.$transaction(work),
      insert: (tx, id) => tx.order.create({ data: { id } }),
      fail: (tx) => tx.$queryRaw`select 1 / 0`,
      pools: [[prisma, 'prisma.$transaction(']],
      [Symbol.asyncDispose]: () => prisma.$disconnect(),
    }
  },
}
