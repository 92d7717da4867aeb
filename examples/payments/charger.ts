// A process that charges what was requested and writes the receipts.
import { type Brief, brief, databaseOf, endWith } from '../../src/demo/child.ts'
import { Posthaste } from '../../src/index.ts'
import { Psp } from './psp.ts'
import { acme, chargeRequested, sendReceipts, topology } from './shop.ts'

export interface ChargerBrief extends Brief {
  readonly provider: string
  readonly windowMs: number
}

const told = brief<ChargerBrief>()
const { pool, database } = databaseOf(told, 10)
const posthaste = new Posthaste({ database, topology })

chargeRequested(posthaste, pool, { psp: new Psp(told.provider), provider: acme(told.windowMs) })
sendReceipts(posthaste)

endWith(async () => {
  await posthaste.stop({ timeoutMs: 3_000 })
  await pool.end()
})
await posthaste.start({ relay: false })
