import json, time, asyncio, os
from pathlib import Path
import asyncpg
from tests.integration.trading.conftest import *
from tests.integration.trading.market import *

async def test_bench(trading):
    N = int(os.environ.get("USERS", "50")); BARS=int(os.environ.get("BARS","300"))
    docs = [json.loads(p.read_text()) for p in sorted(Path("cli/demo/strategies").glob("*.json"))]
    for u in range(1, N+1):
        c = await trading.subscribe(u)
        for d in docs:
            s = await trading.strategy(u, d)
            for sym in ("BTCUSDT","ETHUSDT"):
                await trading.start(c, s, sym)
    b = {s: wavy_bars(BARS, seed=i) for i, s in enumerate(("BTCUSDT","ETHUSDT"))}
    conn = await asyncpg.connect(trading.owner_dsn, server_settings={"search_path": "trading"})
    async with trading.worker():
        ms = [await trading.market(b[s], s) for s in b]
        lat=[]; q=[]
        prev=0
        for i in range(BARS):
            t0=time.perf_counter()
            for m in ms: last=await m.tell(1)
            t1=time.perf_counter()
            while await conn.fetchval("SELECT count(*) FROM user_trading_sessions WHERE last_bar IS DISTINCT FROM $1", from_ms(last)):
                await asyncio.sleep(0.004)
            t2=time.perf_counter()
            w = await conn.fetchval("SELECT (SELECT count(*) FROM fills)+(SELECT count(*) FROM decisions)")
            if i>0: lat.append((t2-t1, w-prev))
            prev=w
        quiet=sorted(x for x,n in lat if n==0); busy=[(x,n) for x,n in lat if n]
        print(f"\nfirst..., quiet n={len(quiet)} median {quiet[len(quiet)//2]*1000:.1f} ms p90 {quiet[int(len(quiet)*.9)]*1000:.1f} ms")
        print(f"busy n={len(busy)} total rows {sum(n for _,n in busy)} mean {sum(x for x,_ in busy)/len(busy)*1000:.1f} ms; per row {sum(x for x,_ in busy)/sum(n for _,n in busy)*1000:.2f} ms; total {sum(x for x,_ in lat):.1f}s")
    await conn.close()
