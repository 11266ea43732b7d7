// A shop on express-session and connect-pg-simple: shop.js PORT. The environment has DATABASE, and ZONE, the time zone of
// its connections.
'use strict';

const express = require('express');
const session = require('express-session');
const PgStore = require('connect-pg-simple')(session);

const { DATABASE, ZONE } = process.env;
const store = new PgStore({
  conObject: { connectionString: DATABASE, options: `-c TimeZone=${ZONE}` },
  createTableIfMissing: true,
  pruneSessionInterval: 1,
});
const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(session({
  store,
  secret: 'a secret of the tests alone',
  name: 'sessionid',
  resave: false,
  saveUninitialized: false,
  cookie: { maxAge: 3_600_000 },
}));

app.get('/', (request, response) => {
  const { user, basket } = request.session;
  const items = (basket ?? []).map((item) => `<li>${item}</li>`).join('\n');
  response.send(`<h1>Basket of ${user ?? 'a visitor'}</h1><ul>${items}</ul>`);
});

app.post('/', (request, response) => {
  request.session.basket = [...(request.session.basket ?? []), request.body.item];
  response.redirect('/');
});

app.get('/login/', (_request, response) => response.send('<h1>Log in</h1>'));

// The session gets another key, which takes the basket along.
app.post('/login/', (request, response, next) => {
  const { basket } = request.session;
  request.session.regenerate((error) => {
    if (error) return next(error);
    Object.assign(request.session, { basket, user: request.body.username });
    response.redirect('/');
  });
});

app.post('/logout/', (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.redirect('/')));
});

// The first question to the store makes the table.
store.pruneSessions((error) => {
  if (error) throw error;
  app.listen(Number(process.argv[2]), '127.0.0.1');
});
