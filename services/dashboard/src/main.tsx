import { render } from 'preact';
import { Shell } from './shell';
import './style.css';

const app = document.getElementById('app');
if (app) render(<Shell />, app);
