/* SPDX-License-Identifier: Apache-2.0

   Revocation: epochs, statements, leases and marks, docs/spec/release.md,
   sections 4 to 6. What is modelled, what is not and how to read the marks:
   docs/design/models.md.

   Two servers, one client, one key that is revoked, enabled and revoked again.
   The store and the network are the attacker's: a server sees as much of the log
   as the store shows it, and the second one another history if the store forks;
   any message ever signed may come at any time, any number of times, or never.
   Time goes on for ever: ages are counted, not dates, and no age is told apart
   from a greater one when both are too old for everything. */

/*! sound         =                  | -       | whatever store and network do, with one history */
/*! forks         = last one forks   | -       | the store shows the second server another history */
/*! skewed        = skew last one    | -       | one server's clock is ahead by a tick: the bound is that much later */
/*! honest        = honest           | -       | answers and statements arrive before the next statement is made */
/*! honest-forks  = last one honest forks | -       | and the store forks */
/*! deep          = last three       | -       | three entries */
/*! deep-forks    = forks            | -       | another history, two entries */
/*! reaches-use   =                  | used    | not vacuous: a key is used that was revoked and enabled */
/*! reaches-proof = forks            | proved  | not vacuous: a fork is seen */
/*! no-staleness  = staleness        | bound   | a lease is used to its end, whatever was heard */
/*! from-receipt  = sent             | bound   | lease and word are as old as the answer's arrival, not as the question */
/*! wall-only     = boot             | bound   | only the wall clock is asked, and it is set back */
/*! boot-only     = wall             | bound   | only the boot clock is asked, and the machine is put back from a snapshot */
/*! no-nonce      = nonce            | bound   | after a restart an answer to an earlier request will do */
/*! undated       = dated            | bound   | a statement is as old as its arrival, not as its date */
/*! any-answer    = answers-vouch    | bound   | an answer for another key vouches for what was released before it */
/*! mixed-heads   = heads-mix forks  | bound   | words vouch for an epoch whatever their head */
/*! deaf          = news             | bound   | a lease outlasts a statement that revokes it */
/*! any-statement = monotone         | forward | a statement may be of an epoch before the mark */
/*! any-epoch     = since            | known   | an answer may be of an epoch before the mark */
/*! no-mark       = kept             | known   | the mark is not kept over a restart */
/*! one-head      = head forks       | fork    | heads of one epoch are not compared */
/*! no-exchange   = exchange honest forks | split | servers don't look at each other's statements */
/*! sticky        = enabled honest   | useful  | an id that is still listed ends leases of its own epoch and later */
/*! parcel-free   = vouched          | bound   | a key that came ahead of need is used whatever was heard */
/*! parcel-word   = own-word         | bound   | it vouches for itself, from its arrival on */
/*! parcel-news   = no-news          | bound   | it vouches for what was released before it, as an answer does */
/*! parcel-clock  = no-clock         | bound   | it dates its server's clock, as an answer does */
/*! parcel-below  = below            | known   | it may be of an epoch before the mark */
/*! deep-epochs   = heads-mix        | -       | words vouch for an epoch whatever their head: with one history nothing is lost */
/*! deep-earlier  = at-or-past       | -       | a statement of an earlier epoch vouches for it as well */
/*! swallowed     = pushed honest    | soon    | a relay swallows statements */

/*? bound */
/*? forward */
/*? known */
/*? fork */
/*? split honest */
/*? useful honest */
/*? soon honest */
/*? used */
/*? proved */

/* A tick is the time between two statements. GrantItem.Staleness is two or more. */
#define STALENESS 2 /*- honest */
/*+ honest: #define STALENESS 3 */
#define SKEW 0 /*- skew */
/*+ skew: #define SKEW 1 */
#define BOUND (STALENESS - 1 + SKEW) /* whole ticks that STALENESS and skew may last after a tick */
#define ENDS  (STALENESS + 1) /* ticks that an answer may have seen and be younger than STALENESS: it is signed between two */
#define LIFE      1 /* Request.NotAfter: a server answers a request up to this age */
#define JUMP      2 /* how far a clock is put back */
#define NONE      9

#define HONEST 0 /*- honest */
/*+ honest: #define HONEST 1 */

/* Each property is checked alone, or all at once: what breaks is what is named. */
#define CHECK(name, x) if :: name -> assert(x) :: else fi
#define NOTE(name, x)  if :: name -> x :: else fi /* what only a property needs */
#ifndef P_bound
#define P_bound 0
#endif
#ifndef P_forward
#define P_forward 0
#endif
#ifndef P_known
#define P_known 0
#endif
#ifndef P_fork
#define P_fork 0
#endif
#ifndef P_split
#define P_split 0
#endif
#ifndef P_useful
#define P_useful 0
#endif
#ifndef P_soon
#define P_soon 0
#endif
#ifndef P_used
#define P_used 0
#endif
#ifndef P_proved
#define P_proved 0
#endif

/* The log: entry 1 revokes the key, 2 enables it, 3 revokes it. If the store
   forks, the second server sees other entries from the first one on, which leave
   the key alone. An epoch's head says which of the two it belongs to. LISTS: one of
   GrantItem.Revocation is in Statement.Revoked, which names it still when the key
   was enabled. */
#define LAST 2 /*- last */
/*+ one: #define LAST 1 */
/*+ three: #define LAST 3 */
#define HEAD(epoch, server)  (forked && server == 1 && epoch >= 1)
#define PERMITS(epoch, head) (head || epoch % 2 == 0)
#define LISTS(epoch, head)   (!head && epoch >= 1)
bool forked;
byte at[2];        /* the epoch of each server */
bool stopped[2];   /* has seen another history than its own */
byte ahead;        /* whose clock is ahead */

/* Statements: Statement.Epoch of each Statement.Server's that are 0, 1 and 2 ticks
   old, by Statement.Issued. Of an older one only the epoch counts: any that the
   server has come to. Statement.Head follows from both. */
byte now0[2]; byte now1[2]; byte now2[2];
bool heard[2], shown[2]; /* the newest one has come to the client, to the other server */

/* The client. */
byte mark; bool markHead;                    /* kept over restarts */
bool leased; byte epoch, age; bool head;     /* its lease, and Grant.Epoch of that */
/*+ vouched: bool free; */
/*+ at-or-past: bool free; */
bool told; byte toldEpoch, toldAge; bool toldHead; /* by the newest statement */
bool answered; byte answeredEpoch, answeredAge; bool answeredHead;
short late[2];  /* what the client takes a server's clock to show, less what it shows: at
                   least 0, and the least is what revokes latest */
bool asking; byte asked, askedAge, since; bool other; /* its request: to whom, how old, mark */

/* The answer to the request, if a server has made it. */
bool made; byte madeEpoch; bool madeHead;
/*+ nonce: bool kept; byte keptEpoch, keptBy; bool keptHead; */

/* For the properties alone. */
byte past1 = NONE, past3 = NONE; /* ticks since all servers said that they are past a revocation */
byte high;                       /* the latest epoch believed, on a profile that nobody put back */
byte askedKnowing, knew;         /* high, as it was when the request, the lease was asked for */
byte heads[2];                   /* the epochs believed under each head */
bool proved;
bool apart;                      /* both servers signed an epoch that both histories have */

#define COUNT(a, most) a = (a < most -> a + 1 : a)
#define ENDED(n, is) (past##n != NONE && past##n is && (epoch < n && !head || head && n == 1))

/* TOLD: ages of the words that vouch for a lease; client/internal/trust, Age. */
#define PASSED (toldEpoch > epoch || toldEpoch == epoch && toldHead == head) /*- heads-mix */
/*+ heads-mix: #define PASSED (toldEpoch >= epoch) */
#define BY_STATEMENT (told && PASSED) /*- at-or-past */
/*+ at-or-past: #define BY_STATEMENT (told && (free || PASSED)) */
#define SAME(e, h) (answeredEpoch == e && answeredHead == h) /*- heads-mix */
/*+ heads-mix: #define SAME(e, h) (answeredEpoch <= e) */
#define BY_ANSWER (answered && answeredEpoch >= epoch && (SAME(epoch, head) || BY_STATEMENT && SAME(toldEpoch, toldHead))) /*- answers-vouch */
/*+ answers-vouch: #define BY_ANSWER (answered && answeredEpoch >= epoch) */
#define RECENT (age < ENDS || BY_STATEMENT && toldAge < STALENESS || BY_ANSWER && answeredAge < ENDS) /*- staleness */
/*+ staleness: #define RECENT true */
/*+ vouched: #undef RECENT */
/*+ vouched: #define RECENT (free || age < ENDS || BY_STATEMENT && toldAge < STALENESS || BY_ANSWER && answeredAge < ENDS) */
#define LATER (toldEpoch > epoch) /*- enabled */
/*+ enabled: #define LATER true */
#define REVOKED (told && LISTS(toldEpoch, toldHead) && LATER) /*- news */
/*+ news: #define REVOKED false */
#define COUNTS (leased && RECENT && !REVOKED)

/* believe takes over a signed message's epoch and head into the mark, or not:
   docs/spec/release.md, section 4, 7 to 10. limit is the epoch that it must not
   be below. */
inline believe(ep, hd, limit) {
  ok = true;
  if
  :: ep < limit -> ok = false
  :: ep == mark && ep >= limit && hd != markHead -> proved = P_proved; ok = false /*- head */
  :: else
  fi;
  if
  :: ok ->
    NOTE((P_fork && ep >= 1 && ep >= mark), heads[hd] = heads[hd] | (1 << ep));
    CHECK(P_fork, (heads[0] & heads[1]) == 0);
    CHECK(P_proved, !proved);
    if
    :: ep > mark -> mark = ep; markHead = hd /*- monotone */
    /*+ monotone: :: mark = ep; markHead = hd */
    :: else
    fi;
    CHECK(P_forward, mark >= high);
    if :: mark > high -> high = mark :: else fi
  :: else -> CHECK(P_proved, !proved)
  fi
}

/* hear takes in a statement of server s: section 5. n is its age. */
inline hear(server, old, said) {
  if
  :: late[server] != NONE -> seen = old + late[server]
  :: late[server] == NONE && late[1 - server] != NONE ->
    seen = old + late[1 - server] + (ahead == 1 - server -> SKEW : 0) - (ahead == server -> SKEW : 0)
  :: else -> seen = NONE /* nothing dates it */
  fi;
  seen = (seen < 0 -> 0 : seen); /*- dated */
  /*+ dated: seen = (seen == NONE -> NONE : 0); */
  if
  :: seen == NONE -> ok = false
  :: else ->
    believe(said, HEAD(said, server), mark); /*- monotone */
    /*+ monotone: believe(said, HEAD(said, server), 0); */
  fi;
  if
  :: ok ->
    seen = (seen > STALENESS -> STALENESS : seen);
    if
    :: !told || said > toldEpoch || said == toldEpoch && seen < toldAge ->
      toldEpoch = said; toldAge = seen; toldHead = HEAD(said, server)
    :: else
    fi;
    told = true;
    CHECK(P_useful, !(leased && REVOKED && !forked && epoch >= at[0] && epoch >= at[1] && PERMITS(epoch, head)));
    if :: leased && REVOKED -> drop() :: else fi
  :: else
  fi;
  ok = false; seen = 0
}

inline drop() {
  leased = false; epoch = 0; age = 0; head = false; knew = 0
  /*+ vouched: ; free = false */
  /*+ at-or-past: ; free = false */
}

/* take takes in a release to a key of Request.Standing: section 8, 4 and 5. Its own
   age vouches for nothing, so it has none. Any that a server ever permitted may
   come, at any time and again, also to a key of an earlier run. */
inline take(server, said) {
  NOTE(P_known, knowing = high);
  believe(said, HEAD(said, server), mark); /*- below */
  /*+ below: believe(said, HEAD(said, server), 0); */
  if
  :: ok ->
    leased = true; epoch = said; head = HEAD(said, server); knew = knowing;
    age = ENDS; /*- own-word */
    /*+ own-word: age = 0; */
    /*+ vouched: free = true; */
    /*+ at-or-past: free = true; */
    /*+ no-news: answered = true; answeredEpoch = said; answeredHead = head; answeredAge = 0; */
    /*+ no-clock: late[server] = -ENDS; if :: !SKEW -> late[1 - server] = late[server] :: else fi; */
  :: else
  fi;
  ok = false; knowing = 0
}

/* accept takes in an answer to the request at hand. */
inline accept(server, said, side) {
  believe(said, side, since); /*- since */
  /*+ since: believe(said, side, 0); */
  if
  :: ok ->
    late[server] = 0; /*- sent */
    /*+ sent: late[server] = -askedAge; askedAge = 0; */
    if :: !SKEW -> late[1 - server] = late[server] :: else fi;
    if
    :: askedAge < ENDS && (!answered || said > answeredEpoch || said == answeredEpoch && askedAge < answeredAge) ->
      answered = true; answeredEpoch = said; answeredHead = side; answeredAge = askedAge
    :: else
    fi;
    if
    :: !other && PERMITS(said, side) && askedAge < ENDS -> drop(); leased = true; epoch = said; head = side; age = askedAge; knew = askedKnowing
    :: !other && !(PERMITS(said, side) && askedAge < ENDS) -> drop()
    :: else
    fi
  :: else
  fi;
  ok = false; forget()
}

/* forget ends the request. */
inline forget() {
  /*+ nonce: if :: made && !other && !kept -> kept = true; keptEpoch = madeEpoch; keptHead = madeHead; keptBy = asked :: else fi; */
  asking = false; asked = 0; askedAge = 0; since = 0; askedKnowing = 0; other = false;
  made = false; madeEpoch = 0; madeHead = false
}

inline sign(s) {
  if :: SKEW -> now2[s] = now1[s] :: else fi;
  now1[s] = now0[s];
  if :: !stopped[s] -> now0[s] = at[s]; heard[s] = !HONEST; shown[1 - s] = !HONEST || !forked :: else -> now0[s] = NONE; heard[s] = true; shown[1 - s] = true fi
}

#define PAST(n)   (SAYS(0, n) && SAYS(1, n))
#define SAYS(s, n) (stopped[s] || at[s] >= n && !HEAD(at[s], s))

/* tick: time passes, and both servers sign. A revocation is done when each has
   signed a statement past it. */
inline tick() {
  CHECK(P_split, !HONEST || !apart || stopped[0] || stopped[1]);
  if :: leased -> COUNT(age, ENDS) :: else fi;
  if :: told -> COUNT(toldAge, STALENESS) :: else fi;
  if :: answered && answeredAge + 1 < ENDS -> answeredAge++ :: else -> answered = false; answeredEpoch = 0; answeredAge = 0; answeredHead = false fi;
  if :: asking -> COUNT(askedAge, ENDS) :: else fi;
  if :: asking && !made && askedAge > LIFE -> forget() :: else fi;
  if :: past1 != NONE -> COUNT(past1, (BOUND + 1)) :: past1 == NONE && (P_bound || P_soon) && PAST(1) -> past1 = 0 :: else fi;
  if :: past3 != NONE -> COUNT(past3, (BOUND + 1)) :: past3 == NONE && (P_bound || P_soon) && PAST(3) -> past3 = 0 :: else fi;
  sign(0); sign(1);
  apart = P_split && forked && !stopped[0] && !stopped[1] && at[0] >= 1 && at[1] >= 1
}

/* compare shows server s a statement of the other one. Another history at an
   epoch that it knows: it stops. */
inline compare(s) {
  shown[s] = true;
  if
  :: now0[1 - s] != NONE && now0[1 - s] >= 1 && now0[1 - s] <= at[s] && forked -> stopped[s] = true /*- exchange */
  :: else
  fi
}

inline putBack(a) {
  if :: a >= JUMP -> a = a - JUMP :: else -> a = 0 fi
}

active proctype world() {
  bool ok; short seen; byte knowing;
  atomic {
    forked = false; /*- forks */
    /*+ forks: forked = true; */
    if :: ahead = 0 :: SKEW -> ahead = 1 fi;
    late[0] = NONE; late[1] = NONE;
    now1[0] = NONE; now1[1] = NONE; now2[0] = NONE; now2[1] = NONE
  }
  do
  /* Time. With an honest relay not before everybody has heard. */
  :: d_step {
      !HONEST || (late[0] == NONE && late[1] == NONE || heard[0] && heard[1]) && shown[0] && shown[1] && !made -> /*- pushed */
      tick()
    }
  /* People and the store: the next entry is there, and a server sees it. */
  :: d_step { !stopped[0] && at[0] < LAST -> at[0]++ }
  :: d_step { !stopped[1] && at[1] < LAST -> at[1]++ }
  /* Servers hear of each other. */
  :: d_step { forked || !shown[0] -> compare(0) }
  :: d_step { forked || !shown[1] -> compare(1) }
  /* The client asks, for this key or another one; a server answers; the answer
     comes or doesn't. */
  :: atomic { !asking -> asking = true; since = mark; askedKnowing = (P_known -> high : 0); if :: asked = 0 :: asked = 1 fi; if :: other = true :: other = false fi }
  :: d_step {
      asking && !made && askedAge <= LIFE && !stopped[asked] ->
      made = true; madeEpoch = at[asked]; madeHead = HEAD(at[asked], asked)
    }
  :: d_step { asking && made -> accept(asked, madeEpoch, madeHead) }
  :: d_step { asking -> forget() }
  /*+ nonce: :: atomic { asking && kept && late[0] == NONE && late[1] == NONE && !other -> asked = keptBy; accept(asked, keptEpoch, keptHead) } */
  /* Statements come. */
  :: d_step { now0[0] != NONE -> heard[0] = heard[0] || late[0] != NONE; hear(0, 0, now0[0]) }
  :: d_step { now0[1] != NONE -> heard[1] = heard[1] || late[1] != NONE; hear(1, 0, now0[1]) }
  :: d_step { now1[0] != NONE -> hear(0, 1, now1[0]) }
  :: d_step { now1[1] != NONE -> hear(1, 1, now1[1]) }
  :: d_step { SKEW && now2[0] != NONE -> hear(0, 2, now2[0]) }
  :: d_step { SKEW && now2[1] != NONE -> hear(1, 2, now2[1]) }
  :: d_step { hear(0, 3, 0) }
  :: d_step { hear(1, 3, 0) }
  :: d_step { at[0] >= 1 -> hear(0, 3, 1) }
  :: d_step { at[1] >= 1 -> hear(1, 3, 1) }
  :: d_step { at[0] >= 2 -> hear(0, 3, 2) }
  :: d_step { at[1] >= 2 -> hear(1, 3, 2) }
  :: d_step { at[0] >= 3 -> hear(0, 3, 3) }
  :: d_step { at[1] >= 3 -> hear(1, 3, 3) }
  /* Releases ahead of need come, made whenever a server permitted them. */
  :: d_step { PERMITS(0, HEAD(0, 0)) -> take(0, 0) }
  :: d_step { PERMITS(0, HEAD(0, 1)) -> take(1, 0) }
  :: d_step { at[0] >= 1 && PERMITS(1, HEAD(1, 0)) -> take(0, 1) }
  :: d_step { at[1] >= 1 && PERMITS(1, HEAD(1, 1)) -> take(1, 1) }
  :: d_step { at[0] >= 2 && PERMITS(2, HEAD(2, 0)) -> take(0, 2) }
  :: d_step { at[1] >= 2 && PERMITS(2, HEAD(2, 1)) -> take(1, 2) }
  :: d_step { at[0] >= 3 && PERMITS(3, HEAD(3, 0)) -> take(0, 3) }
  :: d_step { at[1] >= 3 && PERMITS(3, HEAD(3, 1)) -> take(1, 3) }
  /* The client uses its key. */
  :: d_step {
      COUNTS ->
      CHECK(P_bound, !ENDED(1, > BOUND) && !ENDED(3, > BOUND));
      CHECK(P_soon, !HONEST || forked || !ENDED(1, >= 2) && !ENDED(3, >= 2));
      CHECK(P_known, forked || !(epoch < 1 && knew >= 1) && !(epoch < 3 && knew >= 3));
      CHECK(P_used, epoch != 2)
    }
  /* What a server permitted at the newest epoch can be used. */
  :: d_step {
      P_useful && !forked && leased && epoch >= at[0] && epoch >= at[1] && PERMITS(epoch, head) && age < ENDS ->
      CHECK(P_useful, COUNTS)
    }
  /* Its lease ends: GrantItem.Lease is of any length. */
  :: d_step { leased -> drop() }
  /* It starts again; its profile may be put back to the beginning. */
  :: atomic {
      drop(); told = false; toldEpoch = 0; toldAge = 0; toldHead = false; answeredHead = false;
      answered = false; answeredEpoch = 0; answeredAge = 0; late[0] = NONE; late[1] = NONE; heard[0] = !HONEST || stopped[0]; heard[1] = !HONEST || stopped[1];
      if :: asking -> forget() :: else fi;
      if
      :: true
      :: mark = 0; markHead = false; high = 0; heads[0] = 0; heads[1] = 0
      fi;
      /*+ kept: mark = 0; markHead = false; */
    }
  /* Clocks: each elapsed time is the larger of what boot and wall clock show. */
  /*+ boot: :: atomic { leased -> putBack(age); putBack(toldAge); putBack(answeredAge); putBack(askedAge) } */
  /*+ wall: :: atomic { leased -> putBack(age); putBack(toldAge); putBack(answeredAge); putBack(askedAge) } */
  od
}
