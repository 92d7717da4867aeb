import { type EntityManager, EntitySchema, MikroORM } from '@mikro-orm/postgresql'
import type { Subject } from '../subject.ts'

const Order = new EntitySchema<{ id: string }>({
  name: 'Order',
  tableName: 'orders',
  properties: { id: { type: 'text', primary: true } },
})

export const subject: Subject<EntityManager> = {
  name: 'MikroORM',
  async open(url) {
    const orm = await MikroORM.init({ clientUrl: url, entities: [Order] })
    return {
      transaction: (work) => orm.em.fork().transactional(work),
      async insert(em, id) {
        em.persist(em.create(Order, { id }))
        await em.flush()
      },
      fail: (em) => em.execute('select 1 / 0'),
      pools: [
        [orm.em, 'em.transactional('],
        [orm.em.fork(), 'em.transactional('],
      ],
      [Symbol.asyncDispose]: () => orm.close(),
    }
  },
}
